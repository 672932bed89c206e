"""How many requests a key may make in a minute, and how many wrong keys an address may show.

Counted in Redis, by all API processes together. A count there costs the API 0.1 to 0.2 ms of CPU time
(measured on two cores; a submission costs some ten times that), so nothing cleverer is done.
"""

import math
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import TypeVar

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis import ReadOnlyError
from redis.asyncio import BlockingConnectionPool

from api.access import Access
from api.problems import Problem
from crucible.errors import ServiceUnavailable
from crucible.settings import ApiSettings
from tasks.connections import address
from tasks.redis_client import redis_faults

_CONNECTIONS = 8
_ANSWER_S = 0.5
_AWAY_S = 5.0
"""For how long Redis is left alone after it did not answer."""
_WINDOW_S = 60
_IPV6_NETWORK_BITS = 64

T = TypeVar("T")


class RateLimits:
    """A sliding window for each key and each address. While Redis is away each process counts by itself."""

    def __init__(self, redis_url: str, settings: ApiSettings) -> None:
        self._per_minute = settings.per_minute
        self._wrong_keys = RateLimitItemPerMinute(settings.wrong_keys_per_minute)
        self._address = address(redis_url)
        self._pool = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=_CONNECTIONS,
            timeout=_ANSWER_S,
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            retry_on_error=[ReadOnlyError],  # after a failover the same address leads to another server
        )
        shared = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="limits",
            connection_pool=self._pool,  # type: ignore[arg-type]  # handed on to redis-py as it is
        )
        self._shared = SlidingWindowCounterRateLimiter(shared)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._away_until = 0.0

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        await self._pool.aclose()

    async def spend(self, access: Access) -> None:
        """Count a request of ``access``; raises a 429 ``Problem`` when it is one too many."""
        item = RateLimitItemPerMinute(access.per_minute or self._per_minute)
        if not await self._by(lambda each: each.hit(item, "key", access.key_id)):
            raise await self._too_many(
                item, f"the key {access.key_id} allows {item.amount} requests a minute", "key", access.key_id
            )

    async def refuse_guessers(self, address: str) -> None:
        """Raises a 429 ``Problem`` when ``address`` has shown too many wrong keys within the last minute."""
        whose = "address", _neighbourhood(address)
        _, left = await self._by(lambda each: each.get_window_stats(self._wrong_keys, *whose))
        if not left:
            detail = f"more than {self._wrong_keys.amount} wrong keys in a minute came from your address"
            raise await self._too_many(self._wrong_keys, detail, *whose)

    async def note_wrong_key(self, address: str) -> None:
        """Count a wrong key that ``address`` has shown."""
        whose = "address", _neighbourhood(address)
        await self._by(lambda each: each.hit(self._wrong_keys, *whose))

    async def _by(self, ask: Callable[[SlidingWindowCounterRateLimiter], Awaitable[T]]) -> T:
        """What the counts in Redis say to ``ask``, or this process's own while it is away."""
        if time.monotonic() >= self._away_until:
            try:
                with redis_faults(self._address):
                    return await ask(self._shared)
            except ServiceUnavailable as error:
                self._note_away(error)
        return await ask(self._own)

    async def _too_many(self, item: RateLimitItemPerMinute, detail: str, *whose: str) -> Problem:
        room_at, _ = await self._by(lambda each: each.get_window_stats(item, *whose))
        wait_s = min(max(math.ceil(room_at - time.time()), 1), _WINDOW_S)
        headers = {
            "Retry-After": str(wait_s),
            "RateLimit-Policy": f'"{whose[0]}";q={item.amount};w={_WINDOW_S}',
            "RateLimit": f'"{whose[0]}";r=0;t={wait_s}',
        }
        return Problem(HTTPStatus.TOO_MANY_REQUESTS, f"{detail}; come back in {wait_s} s", headers=headers)

    def _note_away(self, error: ServiceUnavailable) -> None:
        self._away_until = time.monotonic() + _AWAY_S
        structlog.get_logger().warning("requests counted by this process alone", reason=str(error))


def _neighbourhood(address: str) -> str:
    """What is counted together: an IPv4 address, or the network that holder of an IPv6 address has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "elsewhere"
    if isinstance(parsed, IPv6Address):
        return str(int(parsed) >> (parsed.max_prefixlen - _IPV6_NETWORK_BITS))
    return str(parsed)
