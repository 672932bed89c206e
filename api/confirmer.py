"""Has mismatches run again in the background, until each is known to be one or to be noise."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from crucible.errors import PlatformError

_AT_ONCE = 2
CROWD = 20
"""When so many wait, they are confirmed together: alone, each takes flow runs of its own."""
_MOST_TOGETHER = 200
_CATCH_UP_EVERY_S = 10.0
_ABANDONED_AFTER = timedelta(minutes=1)
"""What was settled so long ago and is not confirmed, the process that settled it does not have in hand."""
MOST_WAITING = 1000
"""Mismatches that may wait here; more of them wait in the ledger."""

Confirm = Callable[[Sequence[str]], Awaitable[None]]
"""Runs the mismatches of these evaluations again and sees to what follows from it."""

Unconfirmed = Callable[[int, timedelta], Awaitable[Sequence[str]]]
"""At most so many mismatches of the ledger that were settled so long ago and never run again."""


class Confirmer:
    """The queue of unconfirmed mismatches. ``run`` must go on in a task that sees the flow host."""

    def __init__(self, confirm: Confirm, unconfirmed: Unconfirmed) -> None:
        self._confirm = confirm
        self._unconfirmed = unconfirmed
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)
        self._held: set[str] = set()
        self._is_behind = True
        self._is_told = False

    def put(self, evaluation_id: str) -> None:
        """Queue an evaluation that the ledger has as a mismatch; without room it waits there."""
        if evaluation_id in self._held:
            return
        if self._waiting.full():
            if not self._is_told:
                structlog.get_logger().warning("mismatches wait in the ledger", waiting_here=MOST_WAITING)
            self._is_behind = self._is_told = True
            return
        self._held.add(evaluation_id)
        self._waiting.put_nowait(evaluation_id)

    async def run(self) -> None:
        """Confirm what is queued, until cancelled; what is queued then stays a mismatch."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._catch_up())
            for _ in range(_AT_ONCE):
                loops.create_task(self._work())

    async def _catch_up(self) -> None:
        """Fetch what a process that is no more has left, and what found no room here."""
        while True:
            if self._waiting.qsize() < MOST_WAITING / 2:
                await self._fetch(timedelta(0) if self._is_behind else _ABANDONED_AFTER)
            await asyncio.sleep(_CATCH_UP_EVERY_S)

    async def _fetch(self, settled_ago: timedelta) -> None:
        try:
            left = await self._unconfirmed(MOST_WAITING, settled_ago)
        except PlatformError as error:
            structlog.get_logger().warning("mismatches not fetched", reason=str(error))
        else:
            self._is_behind = self._is_told = False
            for each in left:
                self.put(each)

    async def _work(self) -> None:
        while True:
            group = [await self._waiting.get()]
            if self._waiting.qsize() >= CROWD:
                group += [
                    self._waiting.get_nowait() for _ in range(min(self._waiting.qsize(), _MOST_TOGETHER - 1))
                ]
            try:
                await self._confirm(group)
            except Exception as error:  # noqa: BLE001 (whatever ends one confirmation, the next ones must start)
                structlog.get_logger().error("not confirmed", evaluations=group, reason=repr(error))
            finally:
                self._held.difference_update(group)
