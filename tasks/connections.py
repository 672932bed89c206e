"""Connections to Redis, and where a reader of one of its streams stands."""

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio import BlockingConnectionPool

from crucible.errors import ServiceUnavailable, SettingsError
from crucible.retries import Patience
from tasks.redis_client import AsyncReconnecting, AsyncRedisClient, Reconnecting, RedisClient

_REPLY_WITHIN_S = 15.0
_CONNECT_WITHIN_S = 3.0
_BLOCKING = Patience(within_s=3.0, attempts=6)
_IN_A_LOOP = Patience(within_s=1.0, attempts=3, longest_pause_s=0.5)


def connect(url: str, connections: int) -> RedisClient:
    """A client for threads that share at most ``connections`` connections; nothing is sent yet.

    A command that finds the connection gone is sent again for a second or two, so a command may
    be carried out twice. Raises ``SettingsError`` when ``url`` is no Redis URL.
    """
    try:
        client = RedisClient.from_url(
            url,
            max_connections=connections,
            socket_timeout=_REPLY_WITHIN_S,
            socket_connect_timeout=_CONNECT_WITHIN_S,
            retry=Reconnecting(f"Redis at {address(url)}", _BLOCKING),
        )
    except ValueError as error:
        raise SettingsError(_not_a_url(url)) from error
    return cast("RedisClient", client)


def connect_async(url: str, connections: int = 4) -> AsyncRedisClient:
    """A client for one event loop; nothing is sent yet. Raises ``SettingsError`` as ``connect`` does.

    Who finds all ``connections`` in use waits for one, as long as for a server to accept one.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=_CONNECT_WITHIN_S,
            socket_timeout=_REPLY_WITHIN_S,
            socket_connect_timeout=_CONNECT_WITHIN_S,
            retry=AsyncReconnecting(f"Redis at {address(url)}", _IN_A_LOOP),
        )
    except ValueError as error:
        raise SettingsError(_not_a_url(url)) from error
    return cast("AsyncRedisClient", AsyncRedisClient.from_pool(pool))


def address(url: str) -> str:
    """Where ``url`` points, as host:port, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"


def wait_until_there(
    client: redis.Redis, pause: Callable[[float], bool], absent: Callable[[Exception], None]
) -> bool:
    """Waits until Redis answers; ``absent`` is called once, with the reason, when it does not at first.

    ``pause(seconds)`` waits and says whether to give up. False when it said so.
    """
    delay = 0.1
    told = False
    while True:
        try:
            client.ping()
        except ServiceUnavailable as error:
            if not told:
                absent(error)
                told = True
        else:
            return True
        if pause(delay):
            return False
        delay = min(delay * 2, 2.0)


def _not_a_url(url: str) -> str:
    scheme = url.partition("://")[0]
    return f"{scheme!r} does not begin a Redis URL; write redis://:PASSWORD@HOST:PORT/DB"


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
