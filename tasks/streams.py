"""Where a reader of a Redis stream stands."""

from typing import Any, cast

import redis
import redis.asyncio


async def place_in(client: redis.asyncio.Redis, stream: str, last: str) -> str:
    """Where to read on after ``last``: there, or at the beginning of a stream that has not come so far.

    A Redis that lost the stream numbers a new one by its clock; when that was put back meanwhile, a reader
    would wait for as long behind entries it never sees.
    """
    try:
        info: dict[str, Any] = await client.xinfo_stream(stream)
    except redis.ResponseError:
        return last  # no such stream: whatever begins it is looked at then
    newest = cast("bytes", info["last-generated-id"]).decode()
    return "0-0" if _number(newest) < _number(last) else last


def _number(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
