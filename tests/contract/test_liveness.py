"""A worker that takes nothing of what waits is noticed, and no other, on a real server."""

import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis

from tasks.celery_leg.liveness import Liveness
from tests.support.valkey import Valkey, free_port, valkey

__all__ = ["valkey"]

STUCK_AFTER_S = 0.2


class Watched:
    """A worker's liveness, looking often; ``stuck`` is set once it is called."""

    def __init__(self, valkey: Valkey) -> None:
        self.redis = valkey.client()
        self.queue = f"liveness-{uuid4().hex}"
        self.stuck = threading.Event()
        self.liveness = Liveness(
            self.redis, [f"{self.queue}-empty", self.queue], STUCK_AFTER_S, self.stuck.set, 0.01
        )


@pytest.fixture
def watched(valkey: Valkey) -> Iterator[Watched]:
    made = Watched(valkey)
    yield made
    made.liveness.stop()


def test_who_takes_nothing_of_what_waits_is_stuck(watched: Watched) -> None:
    began = time.monotonic()
    watched.redis.lpush(watched.queue, "a run")
    watched.liveness.start()
    assert watched.stuck.wait(30)
    assert time.monotonic() - began >= STUCK_AFTER_S


def test_who_carries_something_is_not_until_that_has_ended(watched: Watched) -> None:
    watched.redis.lpush(watched.queue, "a run")
    with watched.liveness.carrying():
        watched.liveness.start()
        assert not watched.stuck.wait(5 * STUCK_AFTER_S)
    assert watched.stuck.wait(30)


def test_who_has_nothing_to_take_is_not(watched: Watched) -> None:
    watched.liveness.start()
    assert not watched.stuck.wait(5 * STUCK_AFTER_S)


def test_whose_broker_is_away_is_not(watched: Watched) -> None:
    nowhere = redis.Redis(port=free_port(), socket_connect_timeout=1)
    away = Liveness(nowhere, [watched.queue], STUCK_AFTER_S, watched.stuck.set, 0.01)
    away.start()
    assert not watched.stuck.wait(5 * STUCK_AFTER_S)
    away.stop()
