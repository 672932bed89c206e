"""What happens, told to whoever listens: one bounded stream in the Redis of claims and replies.

The ledger is the truth and this is the news: an event that is lost is missing from a live view until that is
read anew, and from nothing else.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import orjson

from crucible.errors import ServiceUnavailable
from tasks.background import BackgroundService, BackgroundServices
from tasks.connections import connect_async, place_in

EVENTS_KEY = "crucible:events"
EVENTS_KEPT = 20_000
"""In the stream, about; whoever resumes from before the oldest must read anew."""

_SERVICE = "event log"
_BOUND_S = 15.0
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
        self._writing = asyncio.Lock()
        self._background: BackgroundServices | None = None

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` write from now on."""
        self._background = background
        background.keep(_SERVICE, self._write, bound_s=_BOUND_S, required=False)

    def put(self, kind: EventKind, data: Mapping[str, Any]) -> None:
        """Tell of something. Beyond ten thousand that could not be told, the oldest are forgotten."""
        self._waiting.append({"kind": kind.encode(), "data": orjson.dumps(data)})
        self._arrived.set()

    async def close(self) -> None:
        """Write what is left, if Redis answers, and stop."""
        with contextlib.suppress(ServiceUnavailable):
            await self._write_all()  # nothing is being written then, which would be lost or written twice
        if self._background is not None:
            await self._background.end(_SERVICE)
        await self._redis.aclose()

    async def _write(self, service: BackgroundService) -> None:
        while True:
            await self._write_all()
            self._arrived.clear()
            await service.idle(self._arrived)

    async def _write_all(self) -> None:
        async with self._writing:
            while self._waiting:
                await self._write_some()

    async def _write_some(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
        pipeline = self._redis.pipeline(transaction=False)
        for fields in batch:
            pipeline.xadd(EVENTS_KEY, fields, maxlen=EVENTS_KEPT, approximate=True)
        try:
            await pipeline.execute()
        except BaseException:
            self._waiting = deque((*batch, *self._waiting), _MOST_WAITING)  # without the oldest, if too many
            raise


Entry = tuple[bytes, Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event. ``id`` is its place in the stream, ``data`` is JSON."""

    id: str
    kind: str
    data: bytes


class EventReader:
    """Reads the stream of events at ``redis_url``. Raises ``ServiceUnavailable`` while that Redis is away."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect_async(redis_url, 4)

    async def newest(self) -> str:
        """The id of the newest event, from which on ``after`` gives what is yet to come."""
        newest = cast("list[Entry]", await self._redis.xrevrange(EVENTS_KEY, count=1))
        return newest[0][0].decode() if newest else "0-0"

    async def after(self, place: str, most: int) -> Sequence[StoredEvent]:
        """At most ``most`` events behind ``place`` that are kept still."""
        found = await self._redis.xrange(EVENTS_KEY, f"({place}", count=most)
        if not found and (begin := await place_in(self._redis, EVENTS_KEY, place)) != place:
            found = await self._redis.xrange(EVENTS_KEY, f"({begin}", count=most)
        return _read(cast("list[Entry]", found))

    async def next_after(self, place: str, most: int, within_s: float) -> Sequence[StoredEvent]:
        """As ``after``; where there are none yet, the next ones are waited for, for ``within_s`` seconds."""
        block_ms = int(within_s * 1000)
        found = await self._redis.xread({EVENTS_KEY: place}, count=most, block=block_ms)
        if not found:
            return await self.after(place, most)  # those of a stream that began anew
        return _read(cast("list[tuple[bytes, list[Entry]]]", found)[0][1])

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _read(entries: list[Entry]) -> Sequence[StoredEvent]:
    return [
        StoredEvent(place.decode(), fields[b"kind"].decode(), fields[b"data"]) for place, fields in entries
    ]
