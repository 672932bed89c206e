"""Everything delivered twice, and workers that come back when nobody expects them any more."""

import asyncio
import signal
from functools import partial

from crucible.settings import CelerySettings, LegacySettings
from tasks.celery_leg.app import broker_keys
from tasks.legacy_leg.queue import queue_keys
from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import Stack

_PAUSED_S = 15
"""Longer than the lease of a claim."""
_BOUND_S = 45


async def _deliver_twice(scene: Scene) -> None:
    await asyncio.to_thread(_copy_payloads, scene.stack)
    await asyncio.to_thread(_copy_messages, scene.stack)


def _copy_payloads(stack: Stack) -> None:
    settings = LegacySettings()
    with stack.redis("redis") as client:
        for queue in queue_keys(settings).values():
            if waiting := client.lrange(queue, 0, -1):
                client.rpush(queue, *waiting)  # type: ignore[misc]
        if taken := client.lrange(settings.processing_key, 0, -1):
            client.rpush(queue_keys(settings)[9], *taken)  # type: ignore[misc]


def _copy_messages(stack: Stack) -> None:
    """Copies of what waits; what is held is past its visibility timeout, so that Celery repeats it."""
    _unacked, index, *lists = broker_keys(CelerySettings())
    with stack.redis("celery-redis") as client:
        for queue in lists:
            if waiting := client.lrange(queue, 0, -1):
                client.lpush(queue, *waiting)  # type: ignore[misc]
        if held := client.zrange(index, 0, -1):
            client.zadd(index, dict.fromkeys(held, 1), xx=True)  # type: ignore[arg-type]


async def _pause(scene: Scene, worker: str) -> None:
    scene.stack.signal([worker], signal.SIGSTOP)
    try:
        await scene.wait(_PAUSED_S)
    finally:
        scene.stack.signal([worker], signal.SIGCONT)


def _paused(worker: str) -> Fault:
    what = f"stopped (SIGSTOP) for {_PAUSED_S} s, longer than its claims last, then goes on"
    return Fault(f"pause {worker}", what, _BOUND_S, partial(_pause, worker=worker))


FAULTS = (
    Fault(
        "deliver everything twice",
        "what waits or is taken is put into both queues again",
        _BOUND_S,
        _deliver_twice,
    ),
    _paused("legacy-worker-1"),
    _paused("celery-worker"),
)
