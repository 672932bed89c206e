"""Runs by id: asked twice, run once.

A worker whose connection broke asks again under the same id. It then joins the run under way, or gets
the answer that was kept; the program is not run a second time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import NamedTuple

from executors.service.orders import Problem
from executors.timings import Timing, timings_kept

KEPT_BYTES = 32 << 20
"""How many bytes of finished answers are kept for those who ask again."""


class Answer(NamedTuple):
    """What is answered, and what the time went into."""

    body: bytes | Problem
    timings: Sequence[Timing]


class Answers:
    """Runs under way and the last answers, bounded by their size in bytes."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._running: dict[Hashable, asyncio.Task[Answer]] = {}
        self._kept: OrderedDict[Hashable, Answer] = OrderedDict()
        self._room = kept_bytes

    def knows(self, run_id: Hashable) -> bool:
        """Whether asking for this id starts nothing new."""
        return run_id in self._running or run_id in self._kept

    async def get(self, run_id: Hashable, start: Callable[[], Awaitable[bytes | Problem]]) -> Answer:
        """The answer for ``run_id``, from ``start`` if nobody has asked before.

        A problem from ``start`` is handed out and not kept. The run goes on when the one who asked hangs up.
        """
        if run_id in self._kept:
            return self._kept[run_id]
        run = self._running.get(run_id)
        if run is None:
            run = asyncio.ensure_future(self._run(run_id, start))
            self._running[run_id] = run
        return await asyncio.shield(run)

    async def _run(self, run_id: Hashable, start: Callable[[], Awaitable[bytes | Problem]]) -> Answer:
        try:
            with timings_kept() as timings:
                answer = Answer(await start(), timings)
        finally:
            del self._running[run_id]
        if isinstance(answer.body, bytes):
            self._kept[run_id] = answer
            self._room -= len(answer.body)
            self._make_room()
        return answer

    def _make_room(self) -> None:
        while self._room < 0:
            _, dropped = self._kept.popitem(last=False)
            self._room += len(dropped.body) if isinstance(dropped.body, bytes) else 0
