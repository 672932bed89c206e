"""Brings spans from the stream to the store."""

import asyncio

import structlog

from crucible.errors import PlatformError
from crucible.store import Store
from crucible.telemetry.lost import dropped
from crucible.telemetry.record import SpanRecord, readable
from tasks.span_stream import SpanStream

_PAUSE_S = 1.0
_GATHER_S = 0.5


class SpanMover:
    """``run`` must go on in the background of one process or of several, which share the work."""

    def __init__(self, stream: SpanStream, store: Store) -> None:
        self._stream, self._store = stream, store
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Go on until cancelled; a server that is away is waited for."""
        try:
            await self._move()
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


def _readable(body: bytes) -> list[SpanRecord]:
    found, unreadable = readable(body)
    if unreadable:
        dropped("not readable", unreadable)
    return found
