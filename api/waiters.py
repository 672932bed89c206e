"""Requests that wait for their comparisons."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from crucible.models import Comparison


class Awaited:
    """The comparisons that one request waits for."""

    def __init__(self, futures: dict[str, asyncio.Future[Comparison]]) -> None:
        self._futures = futures

    async def within(self, seconds: float, ids: Collection[str] | None = None) -> dict[str, Comparison]:
        """Those that are there after at most ``seconds``, by id; returns at once when all of ``ids`` are."""
        wanted = self._futures if ids is None else ids
        await asyncio.wait([self._futures[each] for each in wanted], timeout=seconds)
        return {
            evaluation_id: future.result()
            for evaluation_id, future in self._futures.items()
            if future.done() and not future.cancelled()
        }


class Waiters:
    """Brings each comparison to the requests that wait for it, until it ``is_released``."""

    def __init__(self) -> None:
        self._futures: defaultdict[str, list[asyncio.Future[Comparison]]] = defaultdict(list)
        self.is_released = False

    @contextmanager
    def awaiting(self, evaluation_ids: Iterable[str]) -> Iterator[Awaited]:
        """Keep comparisons of ``evaluation_ids`` from now on; to be entered before they are submitted."""
        loop = asyncio.get_running_loop()
        futures: dict[str, asyncio.Future[Comparison]] = {
            each: loop.create_future() for each in evaluation_ids
        }
        for evaluation_id, future in futures.items():
            self._futures[evaluation_id].append(future)
        if self.is_released:
            self.release()
        try:
            yield Awaited(futures)
        finally:
            for evaluation_id, future in futures.items():
                self._futures[evaluation_id].remove(future)
                if not self._futures[evaluation_id]:
                    del self._futures[evaluation_id]

    @property
    def is_anybody_there(self) -> bool:
        """Whether any request waits."""
        return bool(self._futures)

    def is_awaited(self, evaluation_id: str) -> bool:
        """Whether a request waits for that comparison still."""
        return any(not future.done() for future in self._futures.get(evaluation_id, ()))

    def answer(self, comparison: Comparison) -> None:
        """Hand over a comparison that will not change any more."""
        for future in self._futures.get(comparison.evaluation_id, ()):
            if not future.done():
                future.set_result(comparison)

    def release(self) -> None:
        """Let nobody wait any longer, from now on: the process is about to end."""
        self.is_released = True
        for futures in self._futures.values():
            for future in futures:
                future.cancel()
