"""``python -m flows.serving``: offers flows in the Prefect UI, and starts sweeps when they are due."""

import asyncio
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from crucible.errors import CrucibleError, InputError, ServiceUnavailable, SettingsError
from crucible.logging import configure_logging
from crucible.settings import ScheduleSettings, Settings, load
from flows.corpora import BUNDLED
from flows.endings import block_endings, call_on_ending
from flows.options import flow_options
from flows.parity_sweep import parity_sweep
from flows.rollout import rollout

DEPLOYMENT = "scheduled"
READY_LINE = "CRUCIBLE_READY"

_PREFECT_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.2
_EXIT_BAD_INPUT = 2
_EXIT_FAULT = 4


def main() -> int:
    """Serve until SIGTERM; exit 2 on a setting that cannot be used, 4 when a needed server is away."""
    block_endings()
    configure_logging()
    try:
        flow_options(load(Settings))  # what sweeps will need, told before the first of them fails
        asyncio.run(_serve(load(ScheduleSettings)))
    except CrucibleError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_BAD_INPUT if isinstance(error, InputError) else _EXIT_FAULT
    return 0


async def _serve(settings: ScheduleSettings) -> None:
    """Look for runs that are due until SIGTERM; one that is under way is then cancelled.

    Each run has a process of its own. One sweep at a time, since it takes what the machine has, and one
    rollout, since there is one migration.
    """
    stopping = asyncio.Event()
    call_on_ending(stopping.set)
    runner = Runner("crucible", query_seconds=settings.poll_s, limit=2, pause_on_shutdown=False)
    offering = asyncio.create_task(_offer(runner, settings))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({offering, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if runner.started:
        await runner.astop()
    elif stopping.is_set():
        offering.cancel()
    with suppress(asyncio.CancelledError):
        await offering


async def _offer(runner: Runner, settings: ScheduleSettings) -> None:
    await _prefect_answers()
    await _forget_missed(await runner.aadd_deployment(await sweeps(settings)))
    await runner.aadd_deployment(await rollouts())
    sys.stdout.write(f"{READY_LINE}\n")
    sys.stdout.flush()
    await runner.start()


async def _prefect_answers() -> None:
    """Wait for the server, which takes longest of all to start; raises ``ServiceUnavailable``."""
    deadline = time.monotonic() + _PREFECT_WITHIN_S
    async with get_client() as client:
        while fault := await client.api_healthcheck():
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"no Prefect server at {client.api_url} ({fault}); start it, or correct"
                    " CRUCIBLE_PREFECT_API_URL"
                )
            await asyncio.sleep(_LOOK_EVERY_S)


async def _forget_missed(deployment_id: UUID) -> None:
    """Drop scheduled runs whose time passed while nobody served: they would all be made up for at once."""
    missed = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    async with get_client() as client:
        for run in await client.read_flow_runs(flow_run_filter=missed):
            if run.auto_scheduled:
                await client.delete_flow_run(run.id)


async def rollouts() -> RunnerDeployment:
    """The deployment ``rollout/gated``, for people to start."""
    return await rollout.ato_deployment(
        "gated",
        concurrency_limit=1,
        description=rollout.description,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def sweeps(settings: ScheduleSettings) -> RunnerDeployment:
    """The deployment ``parity-sweep/scheduled``; raises ``SettingsError`` for what is no cron expression."""
    try:
        schedule = Cron(settings.cron, timezone=settings.timezone) if settings.cron else None
    except ValueError as error:
        raise SettingsError(f"CRUCIBLE_SCHEDULE_CRON={settings.cron!r}: {error}; as in 0 3 * * *") from error
    return await parity_sweep.ato_deployment(
        DEPLOYMENT,
        schedule=schedule,
        concurrency_limit=1,
        parameters={"corpora": _absolute(settings.corpora), "recorded": settings.recorded},
        description=parity_sweep.description,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _absolute(corpora: Iterable[str]) -> list[str]:
    # Sweeps run in this very folder, but whoever reads the form does not know which that is.
    return [name if name == BUNDLED else str(Path(name).absolute()) for name in corpora]


if __name__ == "__main__":
    sys.exit(main())
