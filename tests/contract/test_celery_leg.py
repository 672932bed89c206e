"""What holds for the Celery leg alone."""

from collections.abc import Iterator

import pytest

from crucible.settings import CelerySettings
from tasks.celery_leg.app import broker_priority, make_app
from tests.support.leg_fixtures import flow, on_empty_servers
from tests.support.legs import CONCURRENCY, Flow, LegHarness, dispatches
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["flow", "valkey"]


@pytest.fixture
def harness(valkey: Valkey) -> Iterator[LegHarness]:
    """The leg on one server for all, which is empty, with a worker."""
    with on_empty_servers("celery", (valkey, valkey)) as leg:
        leg.start_worker()
        yield leg


def test_settings_acknowledge_after_the_run_and_keep_no_results() -> None:
    configuration = make_app("redis://127.0.0.1:1/0", CelerySettings()).conf
    assert configuration.task_acks_late is True
    assert configuration.task_acks_on_failure is True
    assert configuration.worker_prefetch_multiplier == 1
    assert configuration.task_ignore_result is True
    assert configuration.result_backend is None
    assert configuration.worker_send_task_events is False


async def test_a_message_is_acknowledged_after_its_run_and_no_more_are_held_than_threads(
    harness: LegHarness, flow: Flow
) -> None:
    client, runs = harness.celery_redis.client(), dispatches(CONCURRENCY + 3)
    harness.executor.hold()
    await flow.send(runs)
    await eventually(lambda: len(harness.executor.order) == CONCURRENCY)
    assert client.hlen("c:unacked") == CONCURRENCY
    assert client.llen(f"c:evaluations\x06\x16{broker_priority(5)}") == len(runs) - CONCURRENCY
    harness.executor.let_go()
    await flow.read_until_all_reported(runs)
    await eventually(lambda: client.hlen("c:unacked") == 0)


@pytest.mark.usefixtures("harness")
async def test_an_acknowledgement_makes_the_worker_look_for_more_at_once(flow: Flow) -> None:
    # A loop that only looked again when its timers fire would take CONCURRENCY messages a second.
    runs = dispatches(60)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    spread_s = (max(r.finished_at for r in flow.replies) - min(r.taken_at for r in flow.replies)) / 1000
    assert spread_s < len(runs) / CONCURRENCY / 2
