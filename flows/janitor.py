"""Goes on with what others left open: evaluations without column, sweeps and flow runs without end."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Protocol

import structlog
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

from crucible.errors import PlatformError, ServiceUnavailable
from crucible.store import Owner, Ticket
from flows.host import FlowHost, host_tag
from flows.prefect_client import prefect_client
from tasks.leases import Departed

_LOOK_EVERY_S = 2.0
_PAGE = 200
_LEAKED_AFTER_S = 30.0
"""Seconds after which an evaluation of our own that nobody here has in hand was left behind."""

_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.CANCELLING]


class Hands(Protocol):
    """Where evaluations are put to be seen through. A place in it is reserved first."""

    def reserve(self, number: int) -> bool:
        """Keep so many places, if there are so many."""

    def free(self, number: int) -> None:
        """Give places back."""

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Take evaluations that have their places."""

    def holds(self, evaluation_id: str) -> bool:
        """Whether an evaluation waits or is under way there."""


class Janitor:
    """``run`` must go on in the background of one process or of several; each takes what it gets first.

    Should a host that was taken for dead be alive after all, evaluations are run by two who do not know of
    each other, under the same ids: the first answer stands, and is told to both.
    """

    def __init__(self, host: FlowHost, hands: Hands) -> None:
        self._host = host
        self._hands = hands
        self._departed = Departed(host.lease)
        self._begun_at: dict[str, float] = {}
        self._untold: set[str] = set()
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Look again and again until cancelled; a server that is away is waited for."""
        while True:
            try:
                await self._look()
            except PlatformError as error:
                self._log.warning("not looked for what others left open", reason=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _look(self) -> None:
        owners = await self._host.store.ownership.owners()
        dead = await self._departed.among([each for each in owners if each is not None])
        nobody: list[Owner] = [None] if None in owners else []
        for owner in nobody + dead:
            await self._go_on_for(owner)
        self._untold -= {owner for owner in set(self._untold) if await crash_flow_runs(owner)}
        await self._go_on_with_own()

    async def _go_on_for(self, owner: Owner) -> None:
        ownership = self._host.store.ownership
        if crashed := await ownership.end_sweeps(owner):
            self._log.warning("sweeps crashed", sweep_ids=crashed, owner=owner)
        taken = 0
        while self._hands.reserve(_PAGE):
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
            self._hands.free(_PAGE - len(tickets))
        self._hands.put(tickets)
        return tickets

    async def _go_on_with_own(self) -> None:
        """See to evaluations of our own whose flow run failed, or never was."""
        before = datetime.now(UTC) - timedelta(seconds=_LEAKED_AFTER_S)
        found = await self._host.store.ownership.in_hand(self._host.lease.owner, before, _PAGE)
        leaked = [each for each in found if not self._hands.holds(each.id)]
        now = time.monotonic()
        # What fails each time is begun at intervals only, or it would take the machine.
        self._begun_at = {each.id: self._begun_at[each.id] for each in found if each.id in self._begun_at}
        due = [each for each in leaked if now - self._begun_at.get(each.id, -inf) >= _LEAKED_AFTER_S]
        if due and self._hands.reserve(len(due)):
            self._begun_at.update((each.id, now) for each in due)
            self._hands.put(due)
            self._log.warning("begun again", evaluations=len(due))


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
