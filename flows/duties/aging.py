"""Has the queues of a leg age."""

import asyncio

import structlog

from crucible.models import Leg
from crucible.settings import CelerySettings, LegacySettings, QueueSettings, load
from tasks.celery_leg.app import queue_keys as celery_queues
from tasks.connections import connect
from tasks.depths import Aging
from tasks.legacy_leg.queue import queue_keys as legacy_queues


class QueueAging:
    """Lets what has waited long rise in the queues of ``leg``, which are in the Redis at ``redis_url``."""

    def __init__(self, leg: Leg, redis_url: str) -> None:
        self._leg = leg
        self._redis = connect(redis_url, 1)
        age_s = load(QueueSettings).age_s
        if leg == "legacy":
            legacy = load(LegacySettings)
            queues = tuple(legacy_queues(legacy).values())
            self._aging = Aging(self._redis, queues, "LEFT", legacy.concurrency, age_s)
        else:
            celery = load(CelerySettings)
            self._aging = Aging(self._redis, celery_queues(celery), "RIGHT", celery.concurrency, age_s)
        self.every_s = self._aging.look_every_s

    async def round(self) -> None:
        """One tick, if it is time. Raises ``ServiceUnavailable``."""
        if risen := await asyncio.to_thread(self._aging.tick):
            structlog.get_logger().info("aged", leg=self._leg, risen=risen)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
