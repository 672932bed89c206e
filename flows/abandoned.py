"""Tells Prefect of flow runs whose process is no more: those that were started by a deployment."""

from collections.abc import Iterable

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType

from flows.host import FlowHost, host_tag
from flows.janitor import crash_flow_runs
from flows.prefect_client import prefect_client
from flows.worker import POOL
from tasks.leases import Departed

_LOOK_EVERY_S = 5.0
_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


class Abandoned:
    """Looks for such flow runs. What evaluations they leave open is for the janitor."""

    def __init__(self, host: FlowHost) -> None:
        self._background = host.background
        self._departed = Departed(host.lease)

    def open(self) -> None:
        """Have the host's background look from now on."""
        self._background.every(_LOOK_EVERY_S, "abandoned flow runs", self._look, required=False)

    async def _look(self) -> None:
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
        async with prefect_client() as client:
            found = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=state), work_pool_filter=pool
            )
        for owner in await self._departed.among(_owners(found)):
            await crash_flow_runs(owner)


def _owners(flow_runs: Iterable[FlowRun]) -> set[str]:
    prefix = host_tag("")
    return {tag.removeprefix(prefix) for each in flow_runs for tag in each.tags if tag.startswith(prefix)}
