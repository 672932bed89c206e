"""``python -m flows.serving``: offers flows in the Prefect UI, and runs them when they are started or due."""

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.schedules import Cron
from prefect.settings import PREFECT_WORKER_QUERY_SECONDS, temporary_settings
from prefect.types.entrypoint import EntrypointType

from crucible.errors import ServiceUnavailable, SettingsError
from crucible.report.words import many
from crucible.settings import ScheduleSettings, Settings, load
from crucible.telemetry.metrics import metrics_served
from flows.controller import embedded_controller
from flows.corpora import BUNDLED
from flows.evaluate import evaluate
from flows.flow_runs import prefect_client, prefect_session
from flows.host import FlowHost, flow_host
from flows.process import call_on_ending, flow_options, is_controller, run_process, say_ready
from flows.program import evaluate_program
from flows.rollout import rollout
from flows.sweep import parity_sweep
from flows.worker import POOL, Offer, WarmWorker


async def provide_pool(client: PrefectClient) -> None:
    """Make the work pool of our worker, unless it is there."""
    template = WarmWorker.get_default_base_job_template()
    made = WorkPoolCreate(
        name=POOL,
        type=WarmWorker.type,
        description="Flows of Crucible, run at once in a process that is warm.",
        base_job_template=template,
    )
    try:
        await client.create_work_pool(made)
    except ObjectAlreadyExists:
        return


async def evaluations() -> RunnerDeployment:
    """The deployment ``evaluate-program/evaluate``, for people to start."""
    return await _deployment(evaluate_program, "evaluate", tags=["evaluation"])


async def batches() -> RunnerDeployment:
    """The deployment ``evaluate/batch``, to which the flow runs of the API belong.

    Prefect's UI lets people cancel the flow runs of deployments, and no others.
    """
    return await _deployment(evaluate, "batch", tags=["evaluation"])


async def sweeps(settings: ScheduleSettings) -> RunnerDeployment:
    """The deployment ``parity-sweep/scheduled``; raises ``SettingsError`` for what is no cron expression.

    One sweep at a time, since it takes what the machine has.
    """
    try:
        schedule = Cron(settings.cron, timezone=settings.timezone) if settings.cron else None
    except ValueError as error:
        raise SettingsError(f"CRUCIBLE_SCHEDULE_CRON={settings.cron!r}: {error}; as in 0 3 * * *") from error
    return await _deployment(
        parity_sweep,
        "scheduled",
        schedule=schedule,
        concurrency_limit=1,
        parameters={"corpora": _absolute(settings.corpora), "recorded": settings.recorded},
        tags=["parity"],
    )


async def rollouts() -> RunnerDeployment:
    """The deployment ``rollout/gated``, for people to start; one at a time, since there is one migration."""
    return await _deployment(rollout, "gated", concurrency_limit=1, tags=["migration"])


def name_of_evaluation(parameters: Mapping[str, Any]) -> str:
    """What a run of ``evaluate-program`` is called: the same for the same program."""
    digest = sha256(str(parameters.get("code", "")).encode("utf-8", "replace")).hexdigest()[:8]
    return f"{parameters.get('language', 'program')} program {digest}"


def name_of_batch(parameters: Mapping[str, Any]) -> str:
    """What a run of ``evaluate`` is called that a person has started."""
    return f"{many(len(parameters.get('evaluation_ids', ())), 'evaluation')} of the ledger"


def name_of_sweep(parameters: Mapping[str, Any]) -> str:
    """What a run of ``parity-sweep`` is called: what it sweeps."""
    what = [Path(each).stem for each in parameters.get("corpora", ())]
    if recorded := parameters.get("recorded"):
        what.append(f"{recorded} recorded")
    return f"parity of {' and '.join(what) or 'nothing'}"


def name_of_rollout(parameters: Mapping[str, Any]) -> str:
    """What a run of ``rollout`` is called: where it leads."""
    return f"rollout until {parameters.get('until', 'celery')}"


async def _deployment(flow: Flow[..., Any], name: str, **more: Any) -> RunnerDeployment:
    return await flow.ato_deployment(
        name,
        description=flow.description,
        entrypoint_type=EntrypointType.MODULE_PATH,
        work_pool_name=POOL,
        **more,
    )


def _absolute(corpora: Iterable[str]) -> list[str]:
    # Sweeps run in this very folder, but whoever reads the form does not know which that is.
    return [name if name == BUNDLED else str(Path(name).absolute()) for name in corpora]


_PROCESS = "flows"

_LOOK_EVERY_S = 0.2
_LEAVE_WITHIN_S = 8.0


def main() -> int:
    """Serve until SIGTERM; exits as ``run_process`` says."""
    return run_process(_PROCESS, partial(_serve, with_controller=is_controller(__doc__)))


async def _serve(*, with_controller: bool) -> None:
    """Run what is started or due until SIGTERM; what is under way is cancelled then, and settled."""
    stopping = asyncio.Event()
    settings, shared = load(ScheduleSettings), load(Settings)
    options = flow_options(shared)
    call_on_ending(stopping.set)
    with metrics_served(), temporary_settings({PREFECT_WORKER_QUERY_SECONDS: settings.poll_s}):
        async with (
            prefect_session(),
            embedded_controller(options.endpoints, stopping) if with_controller else nullcontext(),
            flow_host(options.endpoints, _PROCESS) as host,
            prefect_client() as client,
        ):
            if await _prefect_answers(client, shared.start_timeout_s, stopping):
                await _work(WarmWorker(host, await _offered(client, settings)), host, stopping)


async def _prefect_answers(client: PrefectClient, within_s: float, stopping: asyncio.Event) -> bool:
    """Wait for the server, which takes longest of all to start; raises ``ServiceUnavailable``.

    False when this process is to end meanwhile.
    """
    deadline = time.monotonic() + within_s
    while fault := await client.api_healthcheck():
        if time.monotonic() > deadline:
            raise ServiceUnavailable(
                f"no Prefect server at {client.api_url} ({fault}); start it, or correct"
                " CRUCIBLE_PREFECT_API_URL"
            )
        if stopping.is_set():
            return False
        await asyncio.sleep(_LOOK_EVERY_S)
    return True


async def _offered(client: PrefectClient, settings: ScheduleSettings) -> dict[UUID, Offer]:
    """Make or renew all deployments; returns what they start, by their ids."""
    await provide_pool(client)
    sweep_id = await (await sweeps(settings)).aapply()
    await _forget_missed(client, sweep_id)
    return {
        sweep_id: Offer(parity_sweep, name_of_sweep),
        await (await batches()).aapply(): Offer(evaluate, name_of_batch),
        await (await evaluations()).aapply(): Offer(evaluate_program, name_of_evaluation),
        await (await rollouts()).aapply(): Offer(rollout, name_of_rollout),
    }


async def _forget_missed(client: PrefectClient, deployment_id: UUID) -> None:
    """Drop scheduled runs whose time passed while nobody served: they would all be made up for at once."""
    missed = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    for run in await client.read_flow_runs(flow_run_filter=missed):
        if run.auto_scheduled:
            await client.delete_flow_run(run.id)


async def _work(worker: WarmWorker, host: FlowHost, stopping: asyncio.Event) -> None:
    """Have ``worker`` work until it is to stop; raises what ends it before."""
    worker.open()
    working, told = (
        asyncio.create_task(worker.start(printer=_say_started)),
        asyncio.create_task(stopping.wait()),
    )
    await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.is_set():
        await worker.leave(_LEAVE_WITHIN_S)
    else:
        host.leave()  # others go on with what is open
    for each in (told, working):
        each.cancel()
    await asyncio.gather(told, return_exceptions=True)
    await asyncio.gather(working, return_exceptions=stopping.is_set())


def _say_started(said: str) -> None:
    # The worker says that it has started, and later that it has stopped: nobody looks for the line then.
    sys.stdout.write(f"{said}\n")
    say_ready()


if __name__ == "__main__":
    sys.exit(main())
