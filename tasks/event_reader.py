"""The reading end of the events, for a process that acts on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tasks.connections import connect_async
from tasks.events import EVENTS_KEY
from tasks.streams import place_in

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
