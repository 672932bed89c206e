"""Marks flow runs as crashed in Prefect whose process is no more: those that were started by a deployment."""

from collections.abc import Iterable

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType

from flows.duties.janitor import crash_flow_runs
from flows.host import FlowHost, host_tag
from flows.prefect_client import prefect_client
from flows.worker import POOL
from tasks.leases import Departed

_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


class AbandonedFlowRuns:
    """Finds them by the tags of their hosts. What evaluations such runs leave open is for the janitor."""

    def __init__(self, host: FlowHost) -> None:
        self._departed = Departed(host.lease)

    async def round(self) -> None:
        """Mark those of hosts that are dead. Raises ``ServiceUnavailable``."""
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
