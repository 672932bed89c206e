"""Runs by id: asked twice, run once.

A worker whose connection broke asks again under the same id. It then joins the run under way, or gets
the answer that was kept; the program is not run a second time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

from executors.service.problems import Problem

KEPT_BYTES = 32 << 20
"""How many bytes of finished answers are kept for those who ask again."""


class Answers:
    """Runs under way and the last answers, bounded by their size in bytes."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._running: dict[Hashable, asyncio.Task[bytes | Problem]] = {}
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._room = kept_bytes

    def knows(self, run_id: Hashable) -> bool:
        """Whether asking for this id starts nothing new."""
        return run_id in self._running or run_id in self._kept

    async def get(self, run_id: Hashable, start: Callable[[], Awaitable[bytes | Problem]]) -> bytes | Problem:
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

    async def _run(
        self, run_id: Hashable, start: Callable[[], Awaitable[bytes | Problem]]
    ) -> bytes | Problem:
        try:
            answer = await start()
        finally:
            del self._running[run_id]
        if isinstance(answer, bytes):
            self._keep(run_id, answer)
        return answer

    def _keep(self, run_id: Hashable, answer: bytes) -> None:
        self._kept[run_id] = answer
        self._room -= len(answer)
        while self._room < 0:
            _, dropped = self._kept.popitem(last=False)
            self._room += len(dropped)
