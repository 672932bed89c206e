"""Writes comparisons to the ledger as they come, many in one transaction."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence

from tenacity import AsyncRetrying

from crucible.errors import PlatformError
from crucible.models import Comparison
from crucible.retries import Patience
from crucible.store import Settled, Store
from tasks.resilience.policy import is_platform_fault

_GATHER_S = 0.25
_PATIENCE = Patience(within_s=30.0, attempts=60, first_pause_s=0.1, longest_pause_s=2.0)


class Settler:
    """Settles what is put at once, or, while ``is_busy``, what was gathered within a moment.

    ``on_settled`` hears of every comparison when it is durable, and not before. A store that fails is
    tried again for half a minute; what it then still refuses stays open in the ledger, and the next
    ``flush`` says why. What the store finds orphaned is kept for the one who put it.
    """

    def __init__(
        self, store: Store, on_settled: Callable[[Comparison], None], is_busy: Callable[[], bool]
    ) -> None:
        self._store = store
        self._is_busy = is_busy
        self._on_settled = on_settled
        self._queue: asyncio.Queue[Comparison | asyncio.Future[None]] = asyncio.Queue()
        self._hurried = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._failure: PlatformError | None = None
        self._orphaned: set[str] = set()

    def open(self) -> None:
        """Start to write; needs a running event loop."""
        self._writer = asyncio.create_task(self._write())

    def put(self, comparison: Comparison) -> None:
        """Take a comparison to be settled soon."""
        self._queue.put_nowait(comparison)

    async def flush(self) -> None:
        """Return as soon as all that was put is durable; raises what the store refused some of it with."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(written)
        self._hurried.set()
        await written
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def take_orphans(self, evaluation_ids: Iterable[str]) -> set[str]:
        """Which of these, all put and flushed before, are orphaned: legacy must run them first."""
        found = self._orphaned.intersection(evaluation_ids)
        self._orphaned -= found
        return found

    async def close(self) -> None:
        """Write what is left and stop."""
        if self._writer is None:
            return
        with contextlib.suppress(PlatformError):  # the flow that put it has been told, or has ended
            await self.flush()
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer

    async def _write(self) -> None:
        while True:
            gathered = [await self._queue.get()]
            if self._is_busy():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GATHER_S):
                        await self._hurried.wait()
            self._hurried.clear()
            while not self._queue.empty():
                gathered.append(self._queue.get_nowait())
            try:
                await self._settle([each for each in gathered if isinstance(each, Comparison)])
            except PlatformError as error:
                self._failure = error
            for each in gathered:
                if isinstance(each, asyncio.Future) and not each.done():
                    each.set_result(None)

    async def _settle(self, gathered: Sequence[Comparison]) -> None:
        if not gathered:
            return
        retrying = AsyncRetrying(**_PATIENCE.options("store", is_platform_fault))
        settled: Settled = await retrying(self._store.settle, gathered)
        self._orphaned.update(each.evaluation_id for each in settled.orphaned)
        for comparison in settled.comparisons:
            self._on_settled(comparison)
