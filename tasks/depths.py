"""How much waits in the queues of both legs, and for how long; and how what has waited long rises."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis
import redis.asyncio

from crucible.models import Leg
from crucible.settings import CelerySettings, LegacySettings
from tasks.celery_leg import app as celery_app
from tasks.connections import connect_async
from tasks.dead_letters import letter_keys
from tasks.dispatch import ENQUEUED_AT
from tasks.legacy_leg import queue as legacy_queue
from tasks.scripts import signatures
from tasks.scripts.signatures import ListEnd


@dataclass(frozen=True, slots=True)
class Depths:
    """One leg's queue: runs that wait, by priority from 9 to 0, runs that workers have, and dead letters."""

    waiting: Mapping[int, int]
    taken: int
    dead: int

    @property
    def total(self) -> int:
        """How many runs wait."""
        return sum(self.waiting.values())


async def legacy_depths(client: redis.asyncio.Redis, settings: LegacySettings) -> Depths:
    """The legacy queue, in the Redis of claims. Raises ``ServiceUnavailable`` when it cannot be used."""
    return await _depths(client, "legacy", legacy_queue.queue_keys(settings), settings.processing_key)


async def celery_depths(client: redis.asyncio.Redis, settings: CelerySettings) -> Depths:
    """Celery's queue, in the Redis of its own. Raises ``ServiceUnavailable`` when it cannot be used."""
    keys = dict(zip(legacy_queue.PRIORITIES, celery_app.queue_keys(settings), strict=True))
    unacked = celery_app.broker_keys(settings)[0]
    return await _depths(client, "celery", keys, unacked)


async def _depths(client: redis.asyncio.Redis, leg: Leg, queues: Mapping[int, str], taken: str) -> Depths:
    pipeline = client.pipeline(transaction=False)
    for key in queues.values():
        pipeline.llen(key)
    if leg == "legacy":
        pipeline.llen(taken)
    else:
        pipeline.hlen(taken)
    pipeline.xlen(letter_keys(leg).stream)
    *waiting, in_hand, dead = await pipeline.execute()
    return Depths(dict(zip(queues, waiting, strict=True)), in_hand, dead)


class QueueAges:
    """Asks the Redis of each leg. Every method raises ``ServiceUnavailable`` when that cannot be used."""

    def __init__(
        self, redis_url: str, celery_redis_url: str, legacy: LegacySettings, celery: CelerySettings
    ) -> None:
        self._redis = connect_async(redis_url, connections=2)
        self._celery_redis = connect_async(celery_redis_url, connections=2)
        self._legacy_keys = tuple(legacy_queue.queue_keys(legacy).values())
        self._celery_keys = celery_app.queue_keys(celery)

    async def oldest_s(self) -> Mapping[Leg, float]:
        """For how many seconds the first in line have waited at most.

        0 where nothing waits, and where whoever sent it did not say when.
        """
        legacy, celery = await asyncio.gather(
            _oldest_s(self._redis, self._legacy_keys, 0),
            _oldest_s(self._celery_redis, self._celery_keys, -1),
        )
        return {"legacy": legacy, "celery": celery}

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._celery_redis.aclose()


async def _oldest_s(client: redis.asyncio.Redis, keys: Sequence[str], first_in_line: int) -> float:
    ask = signatures.oldest.on_loop(client)
    since_ms = await ask(queues=keys, place=first_in_line, text_before=f'"{ENQUEUED_AT}":')
    return max(0.0, time.time() - since_ms / 1000) if since_ms else 0.0


_LOOKS_IN_A_PERIOD = 10
_LONGEST_PAUSE_S = 1.0
_NOT_YET = -1


class Aging:
    """The queues of one leg, most urgent first, in which what has waited for ``period_s`` rises by one.

    At a tick, of the first ``rising`` of each queue those that were among the first at the tick before go to
    the end of the next one, in their order. They stay there until they are taken or have waited for another
    period, and no others follow as long: so what rose never is more of a queue than ``rising``. Nothing is
    lost or doubled by that, whoever takes, sends or withdraws meanwhile.
    """

    def __init__(
        self, client: redis.Redis, queues: Sequence[str], head: ListEnd, rising: int, period_s: float
    ) -> None:
        self._queues, self._head, self._rising, self._period_s = queues, head, rising, period_s
        self._age = signatures.age.on(client)
        self.look_every_s = min(period_s / _LOOKS_IN_A_PERIOD, _LONGEST_PAUSE_S)

    def tick(self) -> int | None:
        """Lets rise what has waited; returns how many, or null where the last tick is less than a period ago.

        Whoever ticks the same queues shares the ticks. Raises ``ServiceUnavailable``.
        """
        memory = f"crucible:aging:{self._queues[0]}"
        risen = self._age(
            lock=f"{memory}:lock",
            memory=memory,
            queues=self._queues,
            period_ms=int(self._period_s * 1000),
            rising=self._rising,
            head=self._head,
        )
        return None if risen == _NOT_YET else risen
