"""Requests that wait for their comparisons."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from crucible.models import Comparison


class Awaited:
    """The comparisons that one request waits for."""

    def __init__(self, futures: dict[str, asyncio.Future[Comparison]]) -> None:
        self._futures = futures

    async def within(self, seconds: float) -> dict[str, Comparison]:
        """Those that are there after at most ``seconds``, by id; returns at once when all are."""
        await asyncio.wait(self._futures.values(), timeout=seconds)
        return {
            evaluation_id: future.result()
            for evaluation_id, future in self._futures.items()
            if future.done() and not future.cancelled()
        }


class Waiters:
    """Brings each comparison to the request that waits for it, if one does."""

    def __init__(self) -> None:
        self._futures: dict[str, asyncio.Future[Comparison]] = {}
        self._is_released = False

    @contextmanager
    def awaiting(self, evaluation_ids: Iterable[str]) -> Iterator[Awaited]:
        """Keep comparisons of ``evaluation_ids`` from now on; to be entered before they are submitted."""
        loop = asyncio.get_running_loop()
        futures: dict[str, asyncio.Future[Comparison]] = {
            each: loop.create_future() for each in evaluation_ids
        }
        self._futures |= futures
        if self._is_released:
            self.release()
        try:
            yield Awaited(futures)
        finally:
            for evaluation_id in futures:
                del self._futures[evaluation_id]

    def answer(self, comparison: Comparison) -> None:
        """Hand over a comparison that will not change any more."""
        future = self._futures.get(comparison.evaluation_id)
        if future is not None and not future.done():
            future.set_result(comparison)

    def release(self) -> None:
        """Let nobody wait any longer, from now on: the process is about to end."""
        self._is_released = True
        for future in self._futures.values():
            future.cancel()
