"""A Celery worker whose broker answers with errors lives, asks at most once a second, and goes on after."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from crucible.errors import ServiceUnavailable
from crucible.settings import CelerySettings
from tasks.celery_leg.app import broker_priority, queue_keys
from tests.support.leg_fixtures import flow, on_empty_servers
from tests.support.legs import CONCURRENCY, Flow, LegHarness, dispatches
from tests.support.redis_faults import OPTIONS, busy, disk_full, forbidden, out_of_memory, replica
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["flow", "valkey"]

LOST = "Connection to broker lost"
"""What a worker says before it connects again."""


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    """Where the broker's data lie."""
    with small_disk() as made:
        yield made


@pytest.fixture(scope="module")
def broker(disk: SmallDisk) -> Iterator[Valkey]:
    """Celery's Redis."""
    server = Valkey(*OPTIONS, disk=disk.folder)
    server.start()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def harness(valkey: Valkey, broker: Valkey) -> Iterator[LegHarness]:
    """The leg with a worker, which outlives all of these tests."""
    with on_empty_servers("celery", (valkey, broker)) as leg:
        leg.start_worker()
        yield leg


@contextmanager
def nobody_has_seen(broker: Valkey) -> Iterator[None]:
    """The queue is no list: WRONGTYPE, of which nobody knows anything."""
    queue = queue_keys(CelerySettings())[broker_priority(5)]
    with broker.client() as client:
        client.set(queue, "no list")
        try:
            yield
        finally:
            client.delete(queue)


@pytest.mark.parametrize("fault", ["MISCONF", "READONLY", "OOM", "BUSY", "NOPERM", "WRONGTYPE"])
async def test_a_worker_outlives_what_its_broker_answers(
    harness: LegHarness, flow: Flow, disk: SmallDisk, fault: str
) -> None:
    broker = harness.celery_redis
    faults: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "MISCONF": lambda: disk_full(broker, disk),
        "READONLY": lambda: replica(broker),
        "OOM": lambda: out_of_memory(broker),
        "BUSY": lambda: busy(broker),
        "NOPERM": lambda: forbidden(broker, "brpop", "hdel", "lpush"),
        "WRONGTYPE": lambda: nobody_has_seen(broker),
    }
    worker, runs = harness.workers[0], dispatches(CONCURRENCY + 1, prefix=fault)
    harness.executor.hold()
    await flow.send(runs)
    await eventually(lambda: all(harness.executor.requests[each.run_id] for each in runs[:CONCURRENCY]))
    with faults[fault]():
        harness.executor.let_go()  # so that acknowledgements meet the fault, and one run still waits
        await flow.read_until_all_reported(runs[:CONCURRENCY])
        await asyncio.to_thread(worker.wait_for_line, LOST)
        with pytest.raises(ServiceUnavailable, match=fault):
            await flow.send(dispatches(1, prefix=f"{fault}-meanwhile"))
    later = dispatches(3 * CONCURRENCY, prefix=f"{fault}-later")
    await flow.send(later)
    await flow.read_until_all_reported([*runs, *later], resend_every_s=1)
    assert worker.process.poll() is None


async def test_a_worker_asks_a_server_that_does_not_serve_it_about_once_a_second(harness: LegHarness) -> None:
    worker = harness.workers[0]
    with nobody_has_seen(harness.celery_redis):
        await asyncio.to_thread(worker.wait_for_line, LOST)
        began, times = time.monotonic(), 3
        for _ in range(times):
            await asyncio.to_thread(worker.wait_for_line, LOST)
        assert times <= 1.1 * (time.monotonic() - began)
