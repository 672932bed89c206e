"""``python -m flows.serving``: offers flows in the Prefect UI, and runs them when they are started or due."""

import asyncio
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_WORKER_QUERY_SECONDS, temporary_settings

from crucible.errors import CrucibleError, InputError, ServiceUnavailable
from crucible.logging import configure_logging
from crucible.settings import ScheduleSettings, Settings, load
from crucible.telemetry.metrics_server import metrics_served
from crucible.telemetry.process import api_of_process, tracing
from flows.controller import embedded_controller
from flows.embedding import is_controller
from flows.endings import block_endings, call_on_ending
from flows.evaluate import evaluate
from flows.evaluate_program import evaluate_program
from flows.host import FlowHost, flow_host
from flows.offers import (
    batches,
    evaluations,
    name_of_batch,
    name_of_evaluation,
    name_of_rollout,
    name_of_sweep,
    provide_pool,
    rollouts,
    sweeps,
)
from flows.options import FlowOptions, flow_options
from flows.parity_sweep import parity_sweep
from flows.prefect_client import prefect_client, prefect_session
from flows.rollout import rollout
from flows.worker import Offer, WarmWorker

READY_LINE = "CRUCIBLE_READY"

_PROCESS = "flows"

_PREFECT_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.2
_LEAVE_WITHIN_S = 8.0
_EXIT_BAD_INPUT = 2
_EXIT_FAULT = 4


def main() -> int:
    """Serve until SIGTERM; exit 2 on a setting that cannot be used, 4 when a needed server is away."""
    block_endings()
    configure_logging(service=_PROCESS)
    with_controller = is_controller(__doc__)
    try:
        settings = load(ScheduleSettings)
        options = flow_options(load(Settings))
        with (
            metrics_served(),
            tracing(_PROCESS, api_of_process()),
            temporary_settings({PREFECT_WORKER_QUERY_SECONDS: settings.poll_s}),
        ):
            asyncio.run(_serve(options, settings, with_controller=with_controller))
    except CrucibleError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_BAD_INPUT if isinstance(error, InputError) else _EXIT_FAULT
    return 0


async def _serve(options: FlowOptions, settings: ScheduleSettings, *, with_controller: bool) -> None:
    """Run what is started or due until SIGTERM; what is under way is cancelled then, and settled."""
    stopping = asyncio.Event()
    call_on_ending(stopping.set)
    async with (
        prefect_session(),
        embedded_controller(options.endpoints, stopping) if with_controller else nullcontext(),
        flow_host(options.endpoints, _PROCESS) as host,
        prefect_client() as client,
    ):
        if await _prefect_answers(client, stopping):
            await _work(WarmWorker(host, await _offered(client, settings)), host, stopping)


async def _prefect_answers(client: PrefectClient, stopping: asyncio.Event) -> bool:
    """Wait for the server, which takes longest of all to start; raises ``ServiceUnavailable``.

    False when this process is to end meanwhile.
    """
    deadline = time.monotonic() + _PREFECT_WITHIN_S
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
        asyncio.create_task(worker.start(printer=_say_ready)),
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


def _say_ready(said: str) -> None:
    # The worker says that it has started, and later that it has stopped: nobody looks for the line then.
    sys.stdout.write(f"{said}\n{READY_LINE}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
