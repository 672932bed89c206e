"""Has the queues of both legs age."""

import asyncio

import redis
import structlog

from crucible.models import Leg
from crucible.settings import CelerySettings, LegacySettings, QueueSettings, load
from tasks.aging import Aging
from tasks.celery_leg.app import queue_keys as celery_queues
from tasks.connections import connect
from tasks.legacy_leg.payload import queue_keys as legacy_queues


class QueueAging:
    """Lets what has waited long rise, in the legacy queue and in Celery's."""

    def __init__(self, redis_url: str, celery_redis_url: str) -> None:
        self._clients = connect(redis_url, 1), connect(celery_redis_url, 1)
        self._aging = aging_of_legs(*self._clients)
        self.every_s = min(each.look_every_s for each in self._aging.values())

    async def round(self) -> None:
        """One tick of each leg for which it is time.

        Raises ``ServiceUnavailable`` when a Redis is away; the other leg has had its tick then.
        """
        ticks = (asyncio.to_thread(each.tick) for each in self._aging.values())
        done = await asyncio.gather(*ticks, return_exceptions=True)
        for leg, risen in zip(self._aging, done, strict=True):
            if isinstance(risen, BaseException):
                raise risen
            if risen:
                structlog.get_logger().info("aged", leg=leg, risen=risen)

    def close(self) -> None:
        """Close the connections."""
        for each in self._clients:
            each.close()


def aging_of_legs(legacy: redis.Redis, celery: redis.Redis) -> dict[Leg, Aging]:
    """The queues of each leg, in the Redis that it has."""
    of_legacy, of_celery, age_s = load(LegacySettings), load(CelerySettings), load(QueueSettings).age_s
    keys = tuple(legacy_queues(of_legacy).values())
    return {
        "legacy": Aging(legacy, keys, "LEFT", of_legacy.concurrency, age_s),
        "celery": Aging(celery, celery_queues(of_celery), "RIGHT", of_celery.concurrency, age_s),
    }
