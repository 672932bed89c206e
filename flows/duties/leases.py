"""Duties, and the leases that one controller has: which duties are its own now, and for how long."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from crucible.errors import PlatformError
from crucible.store.ownership import DutyStore


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that one of all controllers does.

    ``round`` does what there is to do now. The next round follows ``every_s`` seconds after its end, or
    earlier, when ``wait`` returns. ``bound_s`` is how long a round may take, where it takes long.
    """

    name: str
    every_s: float
    round: Callable[[], Awaitable[object]]
    bound_s: float | None = None
    wait: Callable[[], Awaitable[object]] | None = None


_RENEWALS = 4
"""Times a lease is renewed before it would end."""


class DutyLeases:
    """Takes the leases of ``duties`` that nobody has, and keeps them while ``renew`` is called.

    A lease counts from before the store was asked for it. So it ends here before it ends in the store, and no
    two controllers have the same duty.
    """

    def __init__(self, store: DutyStore, owner: str, duties: Sequence[str], lease_s: float) -> None:
        self._store, self._owner, self._duties, self._lease_s = store, owner, tuple(duties), lease_s
        self.renew_every_s = lease_s / _RENEWALS
        self._ends_at: dict[str, float] = {}
        self._rounds: dict[str, asyncio.Timeout] = {}

    async def renew(self) -> None:
        """Take or renew every lease that can be had.

        Raises as ``Store`` does; leases that are held stay so until they end.
        """
        ends_at = asyncio.get_running_loop().time() + self._lease_s
        held = await self._store.take(self._duties, self._owner, self._lease_s)
        if held != self._ends_at.keys():
            structlog.get_logger().info("duties of this controller", duties=sorted(held))
        self._ends_at = dict.fromkeys(held, ends_at)
        for duty, running in self._rounds.items():
            if not running.expired():
                running.reschedule(self._ends_at.get(duty, -math.inf))

    async def run(self, duty: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Await ``work`` if ``duty`` is this controller's; returns whether it is.

        ``work`` is cancelled when the lease ends meanwhile.
        """
        ends_at = self._ends_at.get(duty, -math.inf)
        if ends_at <= asyncio.get_running_loop().time():
            return False
        try:
            async with asyncio.timeout_at(ends_at) as running:
                self._rounds[duty] = running
                try:
                    await work()
                finally:
                    del self._rounds[duty]
        except TimeoutError:
            if not running.expired():
                raise
            structlog.get_logger().warning("duty left to others: its lease was not renewed", duty=duty)
        return True

    async def give_up(self) -> None:
        """Let others have the duties at once; where the store is away they have them when the leases end."""
        self._ends_at.clear()
        with suppress(PlatformError):
            await self._store.give_up(self._owner)


class Checkpoint:
    """How far a duty has come, in the store: whoever has it next goes on from there."""

    def __init__(self, store: DutyStore, duty: str, owner: str) -> None:
        self._store, self._duty, self._owner = store, duty, owner

    async def read(self) -> str | None:
        """What was saved last; null before that."""
        return await self._store.checkpoint(self._duty)

    async def save(self, value: str) -> bool:
        """Save ``value``; false, and nothing is saved, when the duty is another controller's by now."""
        return await self._store.save_checkpoint(self._duty, self._owner, value)
