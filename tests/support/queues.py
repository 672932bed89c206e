"""What lies in the queues of both legs, counted where it lies."""

import redis

from crucible.settings import CelerySettings, LegacySettings
from tasks.celery_leg.app import broker_keys
from tasks.legacy_leg.queue import queue_keys


def waiting_on_legacy(client: redis.Redis) -> int:
    """Payloads that no worker has taken."""
    return sum(int(client.llen(key)) for key in queue_keys(LegacySettings()).values())  # type: ignore[arg-type]


def taken_on_legacy(client: redis.Redis) -> int:
    """Payloads that a worker has taken and not reported."""
    return int(client.llen(LegacySettings().processing_key))  # type: ignore[arg-type]


def waiting_on_celery(client: redis.Redis) -> int:
    """Messages that no worker has taken."""
    return sum(int(client.llen(key)) for key in broker_keys(CelerySettings())[2:])  # type: ignore[arg-type]


def taken_on_celery(client: redis.Redis) -> int:
    """Messages that a worker has taken and not acknowledged."""
    return int(client.hlen(broker_keys(CelerySettings())[0]))  # type: ignore[arg-type]
