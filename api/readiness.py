"""Whether all that the API stands on answers, whether processes do their work, and what they can run."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog
from redis.asyncio import Redis

from crucible.errors import ExecutorUnavailable, PlatformError, ServiceUnavailable
from crucible.models import Leg
from crucible.settings import BreakerSettings, CelerySettings, LegacySettings, load
from crucible.store import Store
from executors.client import ExecutorClient
from flows.host import Endpoints
from tasks.connections import connect_async
from tasks.depths import Depths, celery_depths, legacy_depths
from tasks.http_faults import http_faults
from tasks.leases import ProcessReport, ServiceReports, read_reports
from tasks.resilience.breaker import EXECUTORS, SHARED, BreakerState, breakers, connect_briefly

_WITHIN_S = 2.0
_WRITE_KEY = "crucible:ready"


@dataclass(frozen=True, slots=True)
class Health:
    """``faults`` says what is at fault, by name, and why: empty when all is well."""

    faults: dict[str, str]
    reports: list[ProcessReport]


class Readiness:
    """Asks Redis, Celery's Redis, the store and Prefect, and reads what processes report of themselves."""

    def __init__(
        self, endpoints: Endpoints, prefect_api_url: str, store: Store, reports: ServiceReports
    ) -> None:
        self._redis = connect_async(endpoints.redis_url, connections=2)
        self._celery_redis = connect_async(endpoints.celery_redis_url, connections=1)
        # Proxies and certificates are for servers elsewhere; reading certificates takes long.
        elsewhere = urlsplit(prefect_api_url).scheme == "https"
        self._http = httpx.AsyncClient(verify=elsewhere, timeout=_WITHIN_S, trust_env=elsewhere)
        self._prefect_health_url = f"{prefect_api_url}/health"
        self._store = store
        self._reports = reports

    async def health(self) -> Health:
        """How all is now, within seconds; raises nothing that a server causes."""
        questions: dict[str, Awaitable[object]] = {
            "redis": _write(self._redis),
            "celery-redis": _write(self._celery_redis),
            "store": self._store.check(),
            "prefect": self._ask_prefect(),
        }
        reports, found = await asyncio.gather(
            self._all_reports(), asyncio.gather(*(_fault(question) for question in questions.values()))
        )
        faults = {name: fault for name, fault in zip(questions, found, strict=True) if fault is not None}
        for report in reports:
            for each in report.services:
                if each.required and each.overdue:
                    faults[f"{each.name} of {report.process}"] = each.overdue
        return Health(faults, reports)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._celery_redis.aclose()
        await self._http.aclose()

    async def _all_reports(self) -> list[ProcessReport]:
        own = self._reports.own
        try:
            async with asyncio.timeout(_WITHIN_S):
                others = await read_reports(self._redis)
        except (TimeoutError, ServiceUnavailable):
            return [own]
        return [own, *(each for each in others if each.process != own.process)]

    async def _ask_prefect(self) -> None:
        with http_faults(f"Prefect's server ({self._prefect_health_url})", "see whether it runs"):
            (await self._http.get(self._prefect_health_url)).raise_for_status()


async def _write(client: Redis) -> None:
    """One that is full, or a replica, answers questions and takes no work."""
    await client.set(_WRITE_KEY, 1, ex=1)


async def _fault(question: Awaitable[object]) -> str | None:
    try:
        async with asyncio.timeout(_WITHIN_S):
            await question
    except TimeoutError:
        return f"no answer within {_WITHIN_S:g} s"
    except PlatformError as error:
        return str(error)
    return None


_KEPT_S = 1.0
_STANDING_WITHIN_S = 1.0

T = TypeVar("T")


class Kept(Generic[T]):
    """What ``read`` returned last, read anew when it is older than ``for_s``; one reader at a time."""

    def __init__(self, read: Callable[[], Awaitable[T]], for_s: float = _KEPT_S) -> None:
        self._read, self._for_s = read, for_s
        self._value: T
        self._until = -inf
        self._reading = asyncio.Lock()

    async def get(self) -> T:
        """The value; raises what ``read`` raises."""
        async with self._reading:
            if time.monotonic() >= self._until:
                self._value = await self._read()
                self._until = time.monotonic() + self._for_s
            return self._value


@dataclass(frozen=True, slots=True)
class ExecutorStanding:
    """One executor by what it says of itself; ``fault`` says why it says nothing."""

    name: str
    legs: str
    about: dict[str, Any]
    fault: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """All parts at one moment. A leg whose Redis is away has no depths."""

    executors: tuple[ExecutorStanding, ...]
    breakers: tuple[BreakerState, ...]
    depths: dict[Leg, Depths | None]


class Observer:
    """Looks at the parts."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._executor_urls = endpoints.executor_urls
        self._redis = connect_async(endpoints.redis_url, connections=2)
        self._celery_redis = connect_async(endpoints.celery_redis_url, connections=2)
        self._brief = connect_briefly(endpoints.redis_url)
        encrypted = any(urlsplit(each).scheme == "https" for each in self._executor_urls)
        self._http = httpx.AsyncClient(verify=encrypted, timeout=_STANDING_WITHIN_S, trust_env=False)
        self._legacy, self._celery = load(LegacySettings), load(CelerySettings)
        self._window_s = load(BreakerSettings).window_s
        self._kept = Kept(self._look)

    async def standing(self) -> Standing:
        """How the parts stand, at most a second ago. A part that is away is said to be; raises nothing."""
        return await self._kept.get()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._celery_redis.aclose()
        await self._http.aclose()
        self._brief.close()

    async def _look(self) -> Standing:
        executors = [
            self._executor(name, url) for name, url in zip(EXECUTORS, self._executor_urls, strict=True)
        ]
        found = await asyncio.gather(
            asyncio.gather(*executors),
            _or_none(asyncio.to_thread(self._breakers)),
            _or_none(legacy_depths(self._redis, self._legacy)),
            _or_none(celery_depths(self._celery_redis, self._celery)),
        )
        standing, states, legacy, celery = found
        return Standing(tuple(standing), tuple(states or ()), {"legacy": legacy, "celery": celery})

    async def _executor(self, name: str, url: str) -> ExecutorStanding:
        legs = "celery" if name == EXECUTORS[-1] else "legacy"
        try:
            with http_faults(f"{name} ({url})", "see whether it runs"):
                answer = await self._http.get(f"{url}/health")
            return ExecutorStanding(name, legs, answer.json(), None)
        except (ServiceUnavailable, ValueError) as error:
            return ExecutorStanding(name, legs, {}, str(error))

    def _breakers(self) -> list[BreakerState]:
        return breakers(self._brief, SHARED, self._window_s)


async def _or_none(question: Awaitable[T]) -> T | None:
    with suppress(ServiceUnavailable, TimeoutError):
        async with asyncio.timeout(2 * _STANDING_WITHIN_S):
            return await question
    return None


_ASK_S = 3.0
_ASK_AGAIN_AFTER_S = 10.0


class Languages:
    """What executors said last. They are asked again when a language is wanted that they did not name."""

    def __init__(self, executor_urls: Sequence[str], token: str) -> None:
        self._clients = [ExecutorClient([url], token, _ASK_S, 1) for url in executor_urls]
        self._known: frozenset[str] | None = None
        self._asked_at = 0.0
        self._lock = asyncio.Lock()

    def close(self) -> None:
        """Close the connections to the executors."""
        for client in self._clients:
            client.close()

    async def with_all_of(self, wanted: Iterable[str]) -> frozenset[str]:
        """The languages that can be run; executors are asked first unless all of ``wanted`` are known.

        Raises ``ExecutorUnavailable`` while they have never all answered.
        """
        wanted = frozenset(wanted)
        if self._known is None or not wanted <= self._known:
            async with self._lock:
                if self._known is None or not self._is_fresh():
                    await self._ask()
        return self._known or frozenset()

    async def _ask(self) -> None:
        try:
            answers = await asyncio.gather(*(asyncio.to_thread(client.languages) for client in self._clients))
        except ExecutorUnavailable as error:
            if self._known is None:
                raise
            structlog.get_logger().warning("languages not asked", reason=str(error))
        else:
            self._known = frozenset.intersection(*map(frozenset, answers))
        self._asked_at = time.monotonic()

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._asked_at < _ASK_AGAIN_AFTER_S
