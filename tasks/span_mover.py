"""Brings spans from the stream to the store, and has the store forget the oldest."""

import asyncio
import time

import structlog

from crucible.errors import PlatformError
from crucible.store import Store
from crucible.telemetry.lost import dropped
from crucible.telemetry.record import SpanRecord, readable
from crucible.telemetry.settings import TraceSettings
from tasks.once import Once
from tasks.span_stream import SpanStream

_PAUSE_S = 1.0
_GATHER_S = 0.5
_TIDY_EVERY_S = 60.0
_FORGOTTEN_AT_ONCE = 500
_BETWEEN_STEPS_S = 0.05
_DAY_US = 86_400_000_000


class SpanMover:
    """``run`` must go on in the background of one process or of several, which share the work."""

    def __init__(self, stream: SpanStream, store: Store, settings: TraceSettings, once: Once) -> None:
        self._stream, self._store, self._settings, self._once = stream, store, settings, once
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Go on until cancelled; a server that is away is waited for."""
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._move())
                loops.create_task(self._tidy())
        finally:
            await self._stream.aclose()

    async def _move(self) -> None:
        told = False
        while True:
            try:
                moved = await self._move_some()
            except PlatformError as error:
                if not told:
                    self._log.warning("spans wait for Redis or the store", reason=str(error))
                told = True
                await asyncio.sleep(_PAUSE_S)
            else:
                told = False
                if moved:
                    await asyncio.sleep(_GATHER_S)  # more comes in one transaction than in many

    async def _move_some(self) -> int:
        entries = await self._stream.take()
        if entries:
            await self._store.spans.add([each for _, body in entries for each in _readable(body)])
            await self._stream.done([place for place, _ in entries])
        return len(entries)

    async def _tidy(self) -> None:
        while True:
            try:
                if await self._once.is_first("tidy spans", _TIDY_EVERY_S):
                    await self.forget_old()
            except PlatformError as error:
                self._log.warning("old spans not forgotten", reason=str(error))
            await asyncio.sleep(_TIDY_EVERY_S)

    async def forget_old(self) -> None:
        """Forget what is too old or too much, in steps that hold nobody up."""
        by_age = time.time_ns() // 1000 - int(self._settings.keep_days * _DAY_US)
        by_number = await self._store.spans.oldest_kept(self._settings.keep_spans)
        before = max(by_age, by_number)
        while await self._store.spans.forget(before, _FORGOTTEN_AT_ONCE):  # noqa: ASYNC110 (steps, no wait)
            await asyncio.sleep(_BETWEEN_STEPS_S)


def _readable(body: bytes) -> list[SpanRecord]:
    found, unreadable = readable(body)
    if unreadable:
        dropped("not readable", unreadable)
    return found
