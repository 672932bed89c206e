"""How much waits in the queues of both legs, by priority."""

from collections.abc import Mapping
from dataclasses import dataclass

import redis.asyncio

from crucible.models import Leg
from crucible.settings import CelerySettings, LegacySettings
from tasks.celery_leg import app as celery_app
from tasks.dead_letters import letter_keys
from tasks.legacy_leg import payload


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
    return await _depths(client, "legacy", payload.queue_keys(settings), settings.processing_key)


async def celery_depths(client: redis.asyncio.Redis, settings: CelerySettings) -> Depths:
    """Celery's queue, in the Redis of its own. Raises ``ServiceUnavailable`` when it cannot be used."""
    keys = dict(zip(payload.PRIORITIES, celery_app.queue_keys(settings), strict=True))
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
