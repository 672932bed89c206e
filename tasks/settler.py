"""Writes comparisons to the ledger as they come, many in one transaction."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence

import structlog

from crucible.errors import ServiceUnavailable
from crucible.models import Comparison
from crucible.store import Settled, Store
from tasks.background import BackgroundService, BackgroundServices

_SERVICE = "settler"
_BOUND_S = 30.0
_GATHER_S = 0.25
_WITHIN_S = 30.0
_SUSPECTS = 3
"""When so many in a row cannot be settled even alone, it is the store that is ill."""


class Settler:
    """Settles what is put at once, or, while ``is_busy``, what was gathered within a moment.

    ``on_settled`` hears of every comparison when it is durable, and not before. Where another process had
    settled the evaluation earlier, ``on_earlier`` hears of the comparison that stands instead. What the store
    does not take is tried again for half a minute; then it stays open in the ledger, and the next ``flush``
    says why. What fails together is tried one by one, so that a comparison at fault keeps no other from being
    settled; it holds up each ``flush`` meanwhile. What the store finds orphaned is kept for whoever put it.
    """

    def __init__(
        self,
        store: Store,
        on_settled: Callable[[Comparison], None],
        on_earlier: Callable[[Comparison], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._store = store
        self._is_busy = is_busy
        self._on_settled, self._on_earlier = on_settled, on_earlier
        self._waiting: list[Comparison] = []
        self._flushes: list[asyncio.Future[None]] = []
        self._arrived = asyncio.Event()
        self._hurried = asyncio.Event()
        self._failing_since: dict[str, float] = {}
        self._failure: Exception | None = None
        self._orphaned: set[str] = set()
        self._background: BackgroundServices | None = None
        self._log = structlog.get_logger()

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` write from now on."""
        self._background = background
        background.keep(_SERVICE, self._write, bound_s=_BOUND_S)

    def put(self, comparison: Comparison) -> None:
        """Take a comparison to be settled soon."""
        self._waiting.append(comparison)
        self._arrived.set()

    async def flush(self) -> None:
        """Return as soon as all that was put is durable; raises what the store refused some of it with."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append(written)
        self._arrived.set()
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
        if self._background is None:
            return
        # Whatever it is: the flow that put it has been told, or has ended.
        with contextlib.suppress(Exception):
            await self.flush()
        await self._background.end(_SERVICE)

    async def _write(self, service: BackgroundService) -> None:
        while True:
            if not self._waiting and not self._flushes:
                self._arrived.clear()
                await service.idle(self._arrived)
            await self._gather()
            await self._settle_waiting()
            service.round_done()

    async def _gather(self) -> None:
        if self._is_busy():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GATHER_S):
                    await self._hurried.wait()
        self._hurried.clear()

    async def _settle_waiting(self) -> None:
        """Settle what waits; raises why some of it could not be, which waits on or was given up by then."""
        comparisons, flushes = list(self._waiting), list(self._flushes)
        failed = await self._failed_of(comparisons)
        self._waiting[: len(comparisons)] = again = self._to_try_again(failed)
        if not again:
            del self._flushes[: len(flushes)]
            for flush in flushes:
                if not flush.done():
                    flush.set_result(None)
        if failed:
            raise failed[-1][1]

    async def _failed_of(self, comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Exception]]:
        """Settle these; returns those that could not be with the reason, those not tried alone first."""
        try:
            await self._settle(comparisons)
        except ServiceUnavailable as error:
            return [(each, error) for each in comparisons]
        except Exception as error:  # noqa: BLE001 (whatever it is, somebody waits for each comparison)
            if len(comparisons) == 1:
                return [(comparisons[0], error)]
        else:
            return []
        failed: list[tuple[Comparison, Exception]] = []
        for number, each in enumerate(comparisons, 1):
            failed += await self._failed_of([each])
            if len(failed) == _SUSPECTS:
                return [(rest, failed[-1][1]) for rest in comparisons[number:]] + failed
        return failed

    def _to_try_again(self, failed: Sequence[tuple[Comparison, Exception]]) -> list[Comparison]:
        now, again = time.monotonic(), []
        since = {each.evaluation_id: self._failing_since.get(each.evaluation_id, now) for each, _ in failed}
        for comparison, error in failed:
            if now - since[comparison.evaluation_id] < _WITHIN_S:
                again.append(comparison)
            else:
                del since[comparison.evaluation_id]
                self._failure = error
                self._log.error("left open", evaluation=comparison.evaluation_id, reason=repr(error))
        self._failing_since = since
        return again

    async def _settle(self, comparisons: Sequence[Comparison]) -> None:
        if not comparisons:
            return
        settled: Settled = await self._store.settle(comparisons)
        self._orphaned.update(each.evaluation_id for each in settled.orphaned)
        for comparison in settled.comparisons:
            self._tell(self._on_settled, comparison)
        for comparison in settled.earlier:
            self._tell(self._on_earlier, comparison)

    def _tell(self, listener: Callable[[Comparison], None], comparison: Comparison) -> None:
        try:
            listener(comparison)
        except Exception:  # noqa: BLE001 (it is durable; the defect of one who listens concerns no other)
            self._log.exception("not told that it is settled", evaluation=comparison.evaluation_id)
