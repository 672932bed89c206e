"""Writes comparisons to the ledger as they come, many in one transaction."""

import asyncio
import contextlib
from collections.abc import Callable

from crucible.models import Comparison
from crucible.store import Store

_GATHER_S = 0.05


class Settler:
    """Gathers what is put within a moment and settles it at once.

    ``on_settled`` hears of every comparison when it is durable, and not before.
    """

    def __init__(self, store: Store, on_settled: Callable[[Comparison], None]) -> None:
        self._store = store
        self._on_settled = on_settled
        self._queue: asyncio.Queue[Comparison] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start to write; needs a running event loop."""
        self._writer = asyncio.create_task(self._write())

    def put(self, comparison: Comparison) -> None:
        """Take a comparison to be settled soon."""
        self._queue.put_nowait(comparison)

    async def flush(self) -> None:
        """Return once all that was put is durable; raises what the writer failed on (``StoreError``)."""
        if self._writer is None:
            return
        waiting = asyncio.ensure_future(self._queue.join())
        await asyncio.wait({waiting, self._writer}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._writer.done():
            self._writer.result()

    async def close(self) -> None:
        """Write what is left and stop."""
        if self._writer is None:
            return
        if not self._writer.done():
            await self.flush()
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer

    async def _write(self) -> None:
        while True:
            gathered = [await self._queue.get()]
            await asyncio.sleep(_GATHER_S)
            while not self._queue.empty():
                gathered.append(self._queue.get_nowait())
            await self._store.settle(gathered)
            for comparison in gathered:
                self._on_settled(comparison)
                self._queue.task_done()
