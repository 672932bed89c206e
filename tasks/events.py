"""What happens, told to whoever listens: one bounded stream in the Redis of claims and replies.

The ledger is the truth and this is the news: an event that is lost is missing from a live view until that is
read anew, and from nothing else.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import orjson
import structlog

from crucible.errors import ServiceUnavailable
from tasks.connections import connect_async

EVENTS_KEY = "crucible:events"
EVENTS_KEPT = 20_000
"""In the stream, about; whoever resumes from before the oldest must read anew."""

_MOST_WAITING = 10_000
_AT_ONCE = 500


class EventKind(StrEnum):
    """What an event is about."""

    SUBMITTED = "evaluation.submitted"
    SETTLED = "evaluation.settled"
    CONFIRMED = "evaluation.confirmed"
    SWEEP_STARTED = "sweep.started"
    SWEEP_FINISHED = "sweep.finished"
    ROLLOUT_CHANGED = "rollout.changed"
    BREAKER_CHANGED = "breaker.changed"


class EventLog:
    """The writing end. ``put`` never waits: events are written in bulk soon after."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect_async(redis_url, connections=2)
        self._waiting: deque[dict[Any, Any]] = deque(maxlen=_MOST_WAITING)
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._is_away = False

    def open(self) -> None:
        """Start to write; needs a running event loop."""
        self._writer = asyncio.create_task(self._write())

    def put(self, kind: EventKind, data: Mapping[str, Any]) -> None:
        """Tell of something. Beyond ten thousand that could not be told, the oldest are forgotten."""
        self._waiting.append({"kind": kind.encode(), "data": orjson.dumps(data)})
        self._arrived.set()

    async def close(self) -> None:
        """Write what is left, if Redis answers, and stop."""
        self._closing.set()
        self._arrived.set()
        await (self._writer or self._write())  # not cancelled: what it is just writing would be lost
        await self._redis.aclose()

    async def _write(self) -> None:
        while self._waiting or not self._closing.is_set():
            await self._arrived.wait()
            self._arrived.clear()
            try:
                while self._waiting:
                    await self._write_some()
            except ServiceUnavailable as error:
                if not self._is_away:
                    structlog.get_logger().warning("events wait for Redis", reason=str(error))
                self._is_away = True
                self._arrived.set()
                if self._closing.is_set():
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await self._closing.wait()
            else:
                self._is_away = False

    async def _write_some(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
        pipeline = self._redis.pipeline(transaction=False)
        for fields in batch:
            pipeline.xadd(EVENTS_KEY, fields, maxlen=EVENTS_KEPT, approximate=True)
        try:
            await pipeline.execute()
        except ServiceUnavailable:
            self._waiting.extendleft(reversed(batch))
            raise
