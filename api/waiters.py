"""Requests that wait for their comparisons."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress

import orjson

from crucible.models import Classification, Comparison
from crucible.store import Store
from tasks.events import EventKind


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


_LOOK_EVERY_S = 1.0
_COMPLETED = (EventKind.SETTLED, EventKind.CONFIRMED)


class CompletedElsewhere:
    """Reads from the ledger what an event calls complete, and each second without one: events can be lost."""

    def __init__(self, store: Store, waiters: Waiters) -> None:
        self._store, self._waiters = store, waiters
        self._open: set[str] = set()
        self._tried: set[str] = set()
        self._due = asyncio.Event()

    def put(self, mismatch: Comparison) -> None:
        """Take a mismatch that was settled here and is not confirmed yet."""
        if self._waiters.is_awaited(mismatch.evaluation_id):
            self._open.add(mismatch.evaluation_id)

    def on_event(self, kind: str, data: bytes) -> None:
        """Hear of an event."""
        if kind not in _COMPLETED or not self._waiters.is_anybody_there:
            return
        evaluation_id = str(orjson.loads(data)["id"])
        if self._waiters.is_awaited(evaluation_id):
            self._open.add(evaluation_id)
            if kind == EventKind.CONFIRMED:
                self._tried.add(evaluation_id)
            self._due.set()

    async def round(self) -> None:
        """Wait for an event, a second at most, then look. Raises as ``Store`` does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_S):
                await self._due.wait()
        self._due.clear()
        await self.look()

    async def look(self) -> None:
        """Answer with what the ledger has by now."""
        self._open = set(filter(self._waiters.is_awaited, self._open))
        self._tried &= self._open
        if not self._open:
            return
        for row in await self._store.evaluation_states(list(self._open)):
            if row.comparison is not None and self._is_final(row.comparison):
                self._waiters.answer(row.comparison)

    def _is_final(self, comparison: Comparison) -> bool:
        """Whether it will not change any more; one that could not be run again is answered as it stands."""
        is_open = comparison.classification is Classification.MISMATCH and comparison.reruns == 0
        return not is_open or comparison.evaluation_id in self._tried
