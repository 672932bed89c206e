"""Goes on with what others left open: evaluations without column, sweeps and flow runs without end."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from crucible.errors import ServiceUnavailable
from crucible.store import Owner, Ticket
from flows.flow_runs import prefect_client
from flows.host import FlowHost, host_tag
from flows.worker import POOL
from tasks.leases import Departed

_PAGE = 200

_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.CANCELLING]


class Queue(Protocol):
    """Where evaluations of the ledger are put so that flow runs are started for them."""

    def reserve(self, number: int) -> bool:
        """Reserve ``number`` places; false if fewer are free."""

    def free(self, number: int) -> None:
        """Give places back."""

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Queue evaluations that have their places."""


class Janitor:
    """Takes over the evaluations of dead hosts and ends their sweeps.

    Should a host that was taken for dead be alive after all, evaluations are run by two who do not know of
    each other, under the same ids: the first answer stands, and is told to both.
    """

    def __init__(self, host: FlowHost, queue: Queue) -> None:
        self._host = host
        self._queue = queue
        self._departed = Departed(host.lease)
        self._untold: set[str] = set()
        self._log = structlog.get_logger()

    async def round(self) -> None:
        """Take over what there is room for. Raises ``PlatformError``."""
        owners = await self._host.store.ownership.owners()
        dead = await self._departed.among([each for each in owners if each is not None])
        nobody: list[Owner] = [None] if None in owners else []
        for owner in nobody + dead:
            await self._go_on_for(owner)
        self._untold -= {owner for owner in set(self._untold) if await crash_flow_runs(owner)}

    async def _go_on_for(self, owner: Owner) -> None:
        ownership = self._host.store.ownership
        if crashed := await ownership.end_sweeps(owner):
            self._log.warning("sweeps crashed", sweep_ids=crashed, owner=owner)
        taken = 0
        while self._queue.reserve(_PAGE):
            tickets = await self._taken(owner)
            taken += len(tickets)
            if len(tickets) < _PAGE:
                break
        if taken:
            self._log.warning("taken over", evaluations=taken, owner=owner)
        if owner is not None:
            self._untold.add(owner)

    async def _taken(self, owner: Owner) -> list[Ticket]:
        tickets: list[Ticket] = []
        try:
            tickets = await self._host.store.ownership.take_over(owner, self._host.lease.owner, _PAGE)
        finally:
            self._queue.free(_PAGE - len(tickets))
        self._queue.put(tickets)
        return tickets


async def crash_flow_runs(owner: str) -> bool:
    """Have Prefect show the flow runs of a dead host as crashed; false when it cannot be told now."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))
    theirs = FlowRunFilter(tags=FlowRunFilterTags(all_=[host_tag(owner)]), state=state)
    try:
        async with prefect_client() as client:
            for flow_run in await client.read_flow_runs(flow_run_filter=theirs):
                await client.set_flow_run_state(flow_run.id, Crashed(message=_WHY), force=True)
    except ServiceUnavailable as error:
        structlog.get_logger().warning("Prefect not told who crashed", owner=owner, reason=str(error))
        return False
    return True


_WHY = "the process that ran it is no more; its evaluations are gone on with"


_BEGUN = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


class AbandonedFlowRuns:
    """Finds them by the tags of their hosts. What evaluations such runs leave open is for the janitor."""

    def __init__(self, host: FlowHost) -> None:
        self._departed = Departed(host.lease)

    async def round(self) -> None:
        """Mark those of hosts that are dead. Raises ``ServiceUnavailable``."""
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_BEGUN))
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
