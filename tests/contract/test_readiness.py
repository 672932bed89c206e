"""Readiness on real servers: one that takes no writes is at fault, and so is a loop of any process."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing
from pathlib import Path

import psutil
import pytest

from api.readiness import Observer, Readiness
from crucible.store import Store, sqlite_url
from flows.host import Endpoints
from tasks.background import BackgroundServices
from tasks.leases import PROCESSES_KEY, ServiceReports, report_key
from tests.support.redis_faults import disk_full, out_of_memory, replica
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.valkey import Valkey, free_port, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

Fault = Callable[[Valkey], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    with small_disk() as made:
        yield made


@pytest.fixture(scope="module")
def on_disk(disk: SmallDisk) -> Iterator[Valkey]:
    """A server whose data lie on the small disk."""
    made = Valkey(disk=disk.folder)
    made.start()
    yield made
    made.remove()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


@pytest.fixture
async def background() -> AsyncIterator[BackgroundServices]:
    """Those of the API's own process."""
    made = BackgroundServices()
    yield made
    await made.aclose()


def readiness_of(
    redis: Valkey, celery_redis: Valkey, store: Store, background: BackgroundServices
) -> Readiness:
    endpoints = Endpoints("", redis.url, celery_redis.url)
    reports = ServiceReports(redis.url, "api", background)
    return Readiness(endpoints, f"http://127.0.0.1:{free_port()}/api", store, reports)


async def faults(readiness: Readiness) -> dict[str, str]:
    """What is at fault but for Prefect, which is never there."""
    found = (await readiness.health()).faults
    found.pop("prefect")
    return found


async def fails() -> None:
    raise LookupError("planted by a test")


@pytest.mark.parametrize("which", ["redis", "celery-redis"])
@pytest.mark.parametrize(
    ("fault", "said"), [("full", "MISCONF"), (replica, "READONLY"), (out_of_memory, "OOM")]
)
async def test_a_redis_that_takes_no_writes_is_at_fault(
    valkey: Valkey,
    on_disk: Valkey,
    disk: SmallDisk,
    store: Store,
    background: BackgroundServices,
    which: str,
    fault: Fault | str,
    said: str,
) -> None:
    servers = (on_disk, valkey) if which == "redis" else (valkey, on_disk)
    async with aclosing(readiness_of(*servers, store, background)) as readiness:
        assert await faults(readiness) == {}
        with disk_full(on_disk, disk) if isinstance(fault, str) else fault(on_disk):
            found = await faults(readiness)
            assert list(found) == [which]
            assert said in found[which]
        assert await faults(readiness) == {}


async def test_a_store_without_room_on_its_disk_is_at_fault(
    valkey: Valkey, disk: SmallDisk, background: BackgroundServices
) -> None:
    store = await Store.open(sqlite_url(disk.folder / "store.db"))
    async with aclosing(readiness_of(valkey, valkey, store, background)) as readiness:
        assert await faults(readiness) == {}
        with disk.full():
            found = await faults(readiness)
            assert list(found) == ["store"]
            assert "free some room on that disk" in found["store"]
        assert await faults(readiness) == {}
    await store.close()


async def test_a_required_service_that_is_overdue_is_at_fault_and_no_other(
    valkey: Valkey, store: Store, background: BackgroundServices
) -> None:
    async with aclosing(readiness_of(valkey, valkey, store, background)) as readiness:
        background.every(0.01, "a view", fails, bound_s=0.05, required=False)
        background.every(0.01, "a duty", fails, bound_s=0.05)
        await eventually(lambda: all("planted" in (each.overdue or "") for each in background.states()))
        (name,) = found = await faults(readiness)
        assert name.startswith("a duty of api@")
        assert "planted by a test" in found[name]
        await background.end("a duty")
        assert await faults(readiness) == {}
        (report,) = (await readiness.health()).reports
        assert [each.name for each in report.services] == ["a view"]


async def test_what_another_process_reports_counts_until_that_has_gone(
    valkey: Valkey, store: Store, background: BackgroundServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.leases._EVERY_S", 0.05)
    others = BackgroundServices()
    reports = ServiceReports(valkey.url, "some-worker", others)
    others.every(0.01, "a duty", fails, bound_s=0.05)
    reports.open()
    async with aclosing(readiness_of(valkey, valkey, store, background)) as readiness:
        async with asyncio.timeout(60):
            while not (found := await faults(readiness)):  # noqa: ASYNC110 (another reports it)
                await asyncio.sleep(0.01)
        assert [each.partition("@")[0] for each in found] == ["a duty of some-worker"]
        await others.aclose()
        reports.close()
        assert await faults(readiness) == {}


async def test_a_process_that_reports_no_more_is_forgotten(
    valkey: Valkey, store: Store, background: BackgroundServices
) -> None:
    with valkey.client() as client:
        client.sadd(PROCESSES_KEY, "killed@here:1", "newer@here:2")
        client.set(report_key("newer@here:2"), b'{"another": "version"}')
        async with aclosing(readiness_of(valkey, valkey, store, background)) as readiness:
            assert await faults(readiness) == {}
        assert client.smembers(PROCESSES_KEY) == {b"newer@here:2"}


async def test_a_redis_that_stands_still_has_no_depths(valkey: Valkey) -> None:
    executors = tuple(f"http://127.0.0.1:{free_port()}" for _ in range(3))
    async with aclosing(Observer(Endpoints("", valkey.url, valkey.url, executors))) as observer:
        psutil.Process(valkey.pid).send_signal(signal.SIGSTOP)
        try:
            standing = await observer.standing()
        finally:
            psutil.Process(valkey.pid).send_signal(signal.SIGCONT)
    assert standing.depths == {"legacy": None, "celery": None}
    assert all(each.fault for each in standing.executors)
