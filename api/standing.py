"""How the parts stand: executors, breakers, queues. Asked for by people, and at intervals for news."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Generic, TypeVar

import httpx

from crucible.errors import ServiceUnavailable
from crucible.models import Leg
from crucible.rollout.stage import Rollout
from crucible.settings import BreakerSettings, CelerySettings, LegacySettings, load
from crucible.store import Store
from flows.host import Endpoints
from tasks.background import BackgroundServices
from tasks.connections import connect_async
from tasks.depths import Depths, celery_depths, legacy_depths
from tasks.events import EventKind, EventLog
from tasks.http_faults import http_faults
from tasks.once import Once
from tasks.resilience.breakers import EXECUTORS, SHARED
from tasks.resilience.shared import BreakerState, breakers, connect_briefly

_SERVICE = "change observer"
_LOOK_EVERY_S = 1.0
_KEPT_S = 1.0
_WITHIN_S = 1.0
_TOLD_WITHIN_S = 3600
_SEEN_WITHIN_S = 10
"""Within about this all processes have seen a breaker close, which carries no time of its own."""

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
    """Looks at the parts, and writes an event when the rollout or a breaker has changed."""

    def __init__(
        self, store: Store, endpoints: Endpoints, executor_urls: Sequence[str], events: EventLog, once: Once
    ) -> None:
        self._store, self._events, self._once = store, events, once
        self._executor_urls = tuple(executor_urls)
        self._redis = connect_async(endpoints.redis_url, connections=2)
        self._celery_redis = connect_async(endpoints.celery_redis_url, connections=2)
        self._brief = connect_briefly(endpoints.redis_url)
        self._http = httpx.AsyncClient(timeout=_WITHIN_S, trust_env=False)
        self._legacy, self._celery = load(LegacySettings), load(CelerySettings)
        self._window_s = load(BreakerSettings).window_s
        self._kept = Kept(self._look)
        self._version: int | None = None
        self._states: dict[str, str] = {}
        self._background: BackgroundServices | None = None

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` look for changes from now on."""
        self._background = background
        background.every(_LOOK_EVERY_S, _SERVICE, self._look_for_changes, required=False)

    async def standing(self) -> Standing:
        """How the parts stand, at most a second ago. A part that is away is said to be; raises nothing."""
        return await self._kept.get()

    async def _look_for_changes(self) -> None:
        await self._tell_rollout(await self._store.rollout.state())
        await self._tell_breakers(await asyncio.to_thread(self._breakers))

    async def aclose(self) -> None:
        """Look no more, and close the connections."""
        if self._background is not None:
            await self._background.end(_SERVICE)
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

    async def _tell_rollout(self, rollout: Rollout) -> None:
        if self._version is not None and rollout.version != self._version:
            data = rollout.model_dump(mode="json", include={"version", "stage", "share", "held", "epoch"})
            mark = f"rollout:{rollout.version}"
            await self._tell(EventKind.ROLLOUT_CHANGED, data, mark)
        self._version = rollout.version

    async def _tell_breakers(self, states: Sequence[BreakerState]) -> None:
        for each in states:
            before, self._states[each.dependency] = self._states.get(each.dependency), each.state
            if before is None or before == each.state:
                continue
            until = each.open_until and each.open_until.isoformat()
            moment = until or int(time.time() // _SEEN_WITHIN_S)
            mark = f"breaker:{each.dependency}:{each.state}:{moment}"
            data = {**asdict(each), "open_until": until}
            await self._tell(EventKind.BREAKER_CHANGED, data, mark)

    async def _tell(self, kind: EventKind, data: Mapping[str, Any], mark: str) -> None:
        """Tell of what every process sees: the first that has the mark does."""
        if await self._once.is_first(f"told:{mark}", _TOLD_WITHIN_S):
            self._events.put(kind, data)


async def _or_none(question: Awaitable[T]) -> T | None:
    with suppress(ServiceUnavailable):
        async with asyncio.timeout(2 * _WITHIN_S):
            return await question
    return None
