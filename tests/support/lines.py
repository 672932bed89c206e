"""The queue of one leg without workers: its client sends and withdraws, and takes are a worker's."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from queue import Empty
from typing import Any

import redis

from crucible.models import Leg
from crucible.settings import CelerySettings, LegacySettings
from tasks.celery_leg.app import make_app
from tasks.celery_leg.app import queue_keys as celery_queues
from tasks.celery_leg.client import CeleryClient
from tasks.depths import Aging
from tasks.dispatch import Dispatch, LegClient
from tasks.legacy_leg.client import LegacyClient
from tasks.legacy_leg.queue import LegacyQueue, decode
from tasks.legacy_leg.queue import queue_keys as legacy_queues
from tasks.scripts.signatures import ListEnd
from tests.support.valkey import Valkey

RISING = 3


class Line:
    """The lists of a leg. A period is as long as it is until the next ``tick``."""

    def __init__(self, leg: Leg, server: Valkey) -> None:
        self.leg, self._server = leg, server
        self.redis = server.client()
        self.queues = queues_of(leg)
        self._loop = asyncio.Runner()
        self._client = self._loop.run(_client(leg, server.url))
        self._legacy = LegacyQueue(self.redis, LegacySettings(), lease_ms=60_000)
        self._channel: Any = make_app(server.url, CelerySettings()).connection_for_read().default_channel

    def aging(self, period_s: float = 3600) -> Aging:
        """What a controller has, with a connection of its own."""
        return aging_of(self.leg, self._server.client(), period_s)

    def send(self, runs: Iterable[Dispatch]) -> None:
        """Sends them, in order."""
        self._loop.run(self._client.send(list(runs)))

    def withdraw(self, run_ids: Collection[str]) -> int:
        """Takes waiting runs back; returns how many copies there were."""
        return self._loop.run(self._client.withdraw(run_ids))

    def take(self) -> str | None:
        """The id of the run that a worker gets next."""
        if self.leg == "legacy":
            payload = self._legacy.take()
            return None if payload is None else decode(payload, LegacySettings()).run_id
        try:
            return str(self._channel._get(CelerySettings().queue)["properties"]["correlation_id"])
        except Empty:
            return None

    def take_all(self) -> list[str]:
        """The ids of all that wait, in the order in which workers get them."""
        return list(iter(self.take, None))

    def tick(self) -> int:
        """Another period is over."""
        self.redis.delete(f"crucible:aging:{self.queues[0]}:lock")
        risen = self.aging().tick()
        assert risen is not None
        return risen

    def waiting(self) -> dict[int, Counter[bytes]]:
        """What waits in the list of each priority."""
        lists: dict[int, Any] = {9 - n: self.redis.lrange(key, 0, -1) for n, key in enumerate(self.queues)}
        return {priority: Counter(found) for priority, found in lists.items()}

    def close(self) -> None:
        """Closes the connections."""
        self._loop.run(self._client.aclose())
        self._loop.close()
        self._channel.connection.client.close()
        self.redis.close()


def queues_of(leg: Leg) -> tuple[str, ...]:
    """The lists of ``leg``, most urgent first."""
    if leg == "legacy":
        return tuple(legacy_queues(LegacySettings()).values())
    return celery_queues(CelerySettings())


def aging_of(leg: Leg, client: redis.Redis, period_s: float) -> Aging:
    """As controllers make it."""
    head: ListEnd = "LEFT" if leg == "legacy" else "RIGHT"
    return Aging(client, queues_of(leg), head, RISING, period_s)


async def _client(leg: Leg, url: str) -> LegClient:
    if leg == "legacy":
        return LegacyClient(url, LegacySettings())
    return CeleryClient(url, CelerySettings())
