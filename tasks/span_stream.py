"""Spans on their way to the store: a bounded stream in the Redis of claims and replies.

Key: the stream ``crucible:spans``, each entry some spans of one process. Nothing waits for it: what does not
fit any more, or cannot be written, is lost and counted.
"""

from collections.abc import Sequence
from typing import cast

import redis
from opentelemetry.sdk.trace import ReadableSpan
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from crucible.telemetry.outbox import Write
from crucible.telemetry.record import Record, encoded
from crucible.telemetry.recording import recorded
from tasks.connections import connect_async

SPANS_KEY = "crucible:spans"
ENTRIES_KEPT = 2_000
"""About; each holds at most as many spans as an outbox writes at once."""

_GROUP = "store"
_WRITTEN_WITHIN_S = 2.0
_AT_ONCE = 50
_BLOCK_MS = 2_000
_ABANDONED_MS = 30_000

Entry = tuple[bytes, dict[bytes, bytes]]
Read = list[tuple[bytes, list[Entry]]]


def span_writer(redis_url: str) -> Write:
    """Writes spans to the stream at ``redis_url``; raises redis-py's errors soon when that is away."""
    client = redis.Redis.from_url(
        redis_url,
        socket_timeout=_WRITTEN_WITHIN_S,
        socket_connect_timeout=_WRITTEN_WITHIN_S,
        retry=Retry(NoBackoff(), 0),
    )

    def write(some: Sequence[ReadableSpan | Record]) -> None:
        records = [recorded(each) if isinstance(each, ReadableSpan) else each for each in some]
        client.xadd(SPANS_KEY, {"spans": encoded(records)}, maxlen=ENTRIES_KEPT, approximate=True)

    return write


class SpanStream:
    """The reading end; several processes share the entries among them.

    Every method raises ``ServiceUnavailable`` when Redis cannot be used.
    """

    def __init__(self, redis_url: str, reader: str) -> None:
        self._redis: Redis = connect_async(redis_url, connections=2)
        self._reader = reader

    async def take(self) -> list[tuple[str, bytes]]:
        """Some entries that are this reader's from now on, by id; waits a moment where there are none.

        First those that another reader took half a minute ago and has not done with.
        """
        try:
            abandoned = await self._redis.xautoclaim(
                SPANS_KEY, _GROUP, self._reader, _ABANDONED_MS, count=_AT_ONCE
            )
            found = cast("list[Entry]", abandoned[1])
            if not found:
                read = await self._redis.xreadgroup(
                    _GROUP, self._reader, {SPANS_KEY: ">"}, count=_AT_ONCE, block=_BLOCK_MS
                )
                found = cast("Read", read)[0][1] if read else []
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._make_group()
            return []
        return [(place.decode(), fields.get(b"spans", b"")) for place, fields in found]

    async def done(self, places: Sequence[str]) -> None:
        """Forget entries that are in the store."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xack(SPANS_KEY, _GROUP, *places)
        pipeline.xdel(SPANS_KEY, *places)
        await pipeline.execute()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _make_group(self) -> None:
        try:
            await self._redis.xgroup_create(SPANS_KEY, _GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another process was faster
                raise
