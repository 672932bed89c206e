"""Has mismatches run again in the background, until each is known to be one or to be noise."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

_AT_ONCE = 2
CROWD = 20
"""When so many wait, they are confirmed together: alone, each takes flow runs of its own."""
_MOST_TOGETHER = 200

Confirm = Callable[[Sequence[str]], Awaitable[None]]
"""Runs the mismatches of these evaluations again and sees to what follows from it."""


class Confirmer:
    """The queue of unconfirmed mismatches. ``run`` must go on in a task that sees the flow host."""

    def __init__(self, confirm: Confirm) -> None:
        self._confirm = confirm
        self._waiting: asyncio.Queue[str] = asyncio.Queue()

    def put(self, evaluation_id: str) -> None:
        """Queue an evaluation that the ledger has as a mismatch."""
        self._waiting.put_nowait(evaluation_id)

    async def run(self) -> None:
        """Confirm what is queued, until cancelled; what is queued then stays a mismatch."""
        async with asyncio.TaskGroup() as loops:
            for _ in range(_AT_ONCE):
                loops.create_task(self._work())

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
