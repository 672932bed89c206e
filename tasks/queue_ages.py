"""How long evaluations have waited in the queues of both legs."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import redis.asyncio

from crucible.models import Leg
from crucible.settings import CelerySettings, LegacySettings
from tasks.celery_leg import app as celery_app
from tasks.connections import connect_async
from tasks.dispatch import ENQUEUED_AT
from tasks.legacy_leg import payload
from tasks.scripts import signatures


class QueueAges:
    """Asks the Redis of each leg. Every method raises ``ServiceUnavailable`` when that cannot be used."""

    def __init__(
        self, redis_url: str, celery_redis_url: str, legacy: LegacySettings, celery: CelerySettings
    ) -> None:
        self._redis = connect_async(redis_url, connections=2)
        self._celery_redis = connect_async(celery_redis_url, connections=2)
        self._legacy_keys = tuple(payload.queue_keys(legacy).values())
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
