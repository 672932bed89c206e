"""A worker that takes nothing of what waits is noticed, and no other, on a real server."""

import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tasks.background import BackgroundServices
from tasks.celery_leg.liveness import Liveness
from tasks.connections import connect
from tests.support.valkey import Valkey, free_port, valkey

__all__ = ["valkey"]

STUCK_AFTER_S = 0.2


class Watched:
    """A worker's liveness, looking often; ``stuck`` is set once it is called."""

    def __init__(self, valkey: Valkey) -> None:
        self.redis = valkey.client()
        self.queue = f"liveness-{uuid4().hex}"
        self.stuck = threading.Event()
        self.background = BackgroundServices()
        self.liveness = Liveness(
            self.redis, [f"{self.queue}-empty", self.queue], STUCK_AFTER_S, self.stuck.set
        )

    def start(self) -> None:
        """Has it look from now on."""
        self.background.every_in_thread(0.01, "liveness", self.liveness.look)


@pytest.fixture
def watched(valkey: Valkey) -> Iterator[Watched]:
    made = Watched(valkey)
    yield made
    made.background.stop_threads()


def test_who_takes_nothing_of_what_waits_is_stuck(watched: Watched) -> None:
    began = time.monotonic()
    watched.redis.lpush(watched.queue, "a run")
    watched.start()
    assert watched.stuck.wait(30)
    assert time.monotonic() - began >= STUCK_AFTER_S


def test_who_carries_something_is_not_until_that_has_ended(watched: Watched) -> None:
    watched.redis.lpush(watched.queue, "a run")
    with watched.liveness.carrying():
        watched.start()
        assert not watched.stuck.wait(5 * STUCK_AFTER_S)
    assert watched.stuck.wait(30)


def test_who_has_nothing_to_take_is_not(watched: Watched) -> None:
    watched.start()
    assert not watched.stuck.wait(5 * STUCK_AFTER_S)


def test_whose_broker_is_away_is_not(watched: Watched) -> None:
    nowhere = connect(f"redis://127.0.0.1:{free_port()}/0", 1)
    watched.liveness = Liveness(nowhere, [watched.queue], STUCK_AFTER_S, watched.stuck.set)
    watched.start()
    assert not watched.stuck.wait(5 * STUCK_AFTER_S)
