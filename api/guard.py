"""The guard before every endpoint: who may do what, and how often.

Requests and wrong keys are counted in Redis, by all API processes together. A count there costs the API 0.1
to 0.2 ms of CPU time (measured on two cores; a submission costs some ten times that), so nothing cleverer is
done.
"""

import asyncio
import hmac
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, TypeVar

import structlog
from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from pydantic import SecretStr
from redis import ReadOnlyError
from redis.asyncio import BlockingConnectionPool

from api.problems import Problem
from api.requests import refuse_strange_parameters
from crucible.errors import ServiceUnavailable
from crucible.models.access import ApiKey, Scope, allows, digest_of, key_id_in
from crucible.settings import ApiSettings
from crucible.store.keys import KeyStore
from tasks.connections import address, redis_faults

STACK_KEY_ID = "stack"
"""The id of the key in ``CRUCIBLE_API_KEY``, which is in no store and allows everything."""

PROCESSES_KEY_ID = "processes"
"""The id of the executors' token, by which processes of ours hand in their spans, and do nothing else."""
_OF_PROCESSES_PER_MINUTE = 1_000_000

KEPT_S = 2.0
"""For how long what the store said of a key is believed: a revoked one opens nothing after that."""


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody who showed a key that is good. ``per_minute`` null means the API's own rate."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    per_minute: int | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key has ``scope``; admin has all."""
        return allows(self.scopes, scope)


class _Kept(NamedTuple):
    key: ApiKey
    digest: str
    until: float


class Keyring:
    """The keys that open this API: the stack's own, the executors' token, and those in the store."""

    def __init__(
        self,
        stack_key: SecretStr,
        executor_token: str,
        keys: KeyStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stack = Access(STACK_KEY_ID, STACK_KEY_ID, frozenset(Scope))
        processes = Access(
            PROCESSES_KEY_ID, PROCESSES_KEY_ID, frozenset({Scope.TRACES}), _OF_PROCESSES_PER_MINUTE
        )
        fixed = (stack_key.get_secret_value(), self._stack), (executor_token, processes)
        self._set = tuple((digest_of(secret), access) for secret, access in fixed)
        self._keys, self._clock = keys, clock
        self._kept: dict[str, _Kept] = {}
        self._asking = asyncio.Lock()

    async def by_secret(self, text: str) -> Access:
        """Who holds the key ``text``. Raises a 401 ``Problem`` when it opens nothing.

        A key that is not known and one with a wrong secret are told alike; that it has expired or was
        revoked is told to its holder alone. Raises ``PlatformError`` when the store is away.
        """
        digest = digest_of(text)
        for known, access in self._set:
            if hmac.compare_digest(digest, known):
                return access
        key_id = key_id_in(text)
        kept = None if key_id is None else await self._find(key_id)
        if kept is None or not hmac.compare_digest(digest, kept.digest):
            raise refusal(
                "the bearer key is wrong; send Authorization: Bearer KEY with one that is known here"
            )
        return _opened(kept.key)

    async def by_id(self, key_id: str) -> Access:
        """Who holds the key of that id, which was shown before. Raises as ``by_secret`` does."""
        if key_id == STACK_KEY_ID:
            return self._stack
        kept = await self._find(key_id)
        if kept is None:
            raise refusal("no key has that id any more; show another")
        return _opened(kept.key)

    def is_familiar(self, text: str) -> bool:
        """Whether asking for ``text`` costs nothing worth guarding: its key was good not long ago."""
        kept = self._kept.get(key_id_in(text) or "")
        known = [digest for digest, _ in self._set] if kept is None else [kept.digest]
        return any(hmac.compare_digest(digest_of(text), each) for each in known)

    async def _find(self, key_id: str) -> _Kept | None:
        if kept := self._fresh(key_id):
            return kept
        async with self._asking:  # one asks the store; the others find its answer
            if kept := self._fresh(key_id):
                return kept
            found = await self._keys.find(key_id)
            if found is None:
                self._kept.pop(key_id, None)
                return None
            return self._keep(found)

    def _keep(self, found: tuple[ApiKey, str]) -> _Kept:
        kept = _Kept(*found, self._clock() + KEPT_S)
        self._kept[kept.key.id] = kept
        return kept

    def _fresh(self, key_id: str) -> _Kept | None:
        kept = self._kept.get(key_id)
        return kept if kept is not None and self._clock() < kept.until else None


def refusal(detail: str, challenge: str = 'Bearer error="invalid_token"') -> Problem:
    """The 401 of somebody who may not come in."""
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def _opened(key: ApiKey) -> Access:
    if key.revoked_at is not None:
        raise refusal(f"the key {key.id} was revoked; ask for another")
    if key.has_expired(datetime.now(UTC)):
        raise refusal(f"the key {key.id} has expired; ask for another")
    return Access(key.id, key.name, key.scopes, key.per_minute)


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


class Guard:
    """Lets requests pass that show a key; it is asked before any body is read."""

    def __init__(self, keyring: Keyring, limits: RateLimits) -> None:
        self._keyring, self._limits = keyring, limits

    def needs(self, scope: Scope) -> "Needs":
        """A dependency of endpoints that takes requests whose key has ``scope``."""
        return Needs(self, scope)

    async def admit(self, text: str, address: str) -> Access:
        """Who shows the key ``text`` from ``address``.

        Raises a 401 ``Problem`` for one that opens nothing, and a 429 one for too many requests, or for too
        many wrong keys from that address: keys unseen so far are then not looked at.
        """
        if not self._keyring.is_familiar(text):
            await self._limits.refuse_guessers(address)
        try:
            access = await self._keyring.by_secret(text)
        except Problem:
            await self._limits.note_wrong_key(address)
            raise
        await self._limits.spend(access)
        return access

    async def bearer(self, request: Request) -> Access:
        """Who shows a key in the header of ``request``. Raises as ``admit`` does, for no key at all too."""
        address = request.client.host if request.client else ""
        return await self.admit(_bearer_key(request), address)

    async def resume(self, key_id: str) -> Access:
        """Who showed the key of that id before, for whoever keeps sessions. Raises as ``admit`` does."""
        access = await self._keyring.by_id(key_id)
        await self._limits.spend(access)
        return access


class Needs:
    """Takes requests that show a key with ``scope``; what is wrong with them otherwise comes later."""

    def __init__(self, guard: Guard, scope: Scope) -> None:
        self._guard, self.scope = guard, scope

    async def __call__(self, request: Request) -> Access:
        """Who asks. Raises a 401, 403 or 429 ``Problem``, and a 422 one for parameters unknown here."""
        access = await self._guard.bearer(request)
        require(access, self.scope)
        refuse_strange_parameters(request)
        return access


def require(access: Access, scope: Scope) -> None:
    """Raises a 403 ``Problem`` that names ``scope`` unless ``access`` has it."""
    if not access.allows(scope):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"the key {access.key_id} has not the scope {scope}; ask for a key that has it",
            {"scope": scope},
            {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )


def _bearer_key(request: Request) -> str:
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not shown.strip():
        raise refusal("the bearer key is missing; send Authorization: Bearer KEY", "Bearer")
    # Header text is Latin-1 by rule; encoded so again, these are the bytes that were sent.
    return shown.strip().encode("latin-1").decode(errors="surrogateescape")
