"""Answers requests that wait for comparisons which another process completes: mismatches that it confirms."""

import asyncio
from contextlib import suppress

import orjson

from api.waiters import Waiters
from crucible.models import Classification, Comparison
from crucible.store import Store
from tasks.events import EventKind

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
