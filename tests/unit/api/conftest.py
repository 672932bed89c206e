"""An API whose servers are not there, but for the store and an executor."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from api.readiness import Languages, Readiness
from crucible.store import Store
from flows.host import Endpoints
from tasks.background import BackgroundServices
from tasks.leases import ServiceReports
from tests.support.api import Api
from tests.support.stores import copied_store
from tests.support.stub_executor import TOKEN, StubExecutor
from tests.support.valkey import free_port


@pytest.fixture(scope="session")
def executor() -> Iterator[StubExecutor]:
    """An executor that runs python only."""
    stub = StubExecutor()
    stub.start()
    yield stub
    stub.stop()


@pytest.fixture
def still_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that counts by itself counts as of one moment: at the turn of a minute one more may pass."""
    moment = time.time() // 60 * 60 + 30
    monkeypatch.setattr("limits.aio.storage.memory.time", SimpleNamespace(time=lambda: moment))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await Store.open(copied_store(tmp_path / "store.db"))
    yield opened
    await opened.close()


@pytest.fixture
async def api(store: Store, executor: StubExecutor) -> AsyncIterator[Api]:
    """The API with its batcher running; Redis and Prefect are not there."""
    languages = Languages([executor.url], TOKEN)
    nowhere = f"127.0.0.1:{free_port()}"
    endpoints = Endpoints("", f"redis://{nowhere}/0", f"redis://{nowhere}/0")
    background = BackgroundServices()
    reports = ServiceReports(endpoints.redis_url, "api", background)
    readiness = Readiness(endpoints, f"http://{nowhere}/api", store, reports)
    made = Api(store, languages, readiness)
    made.batcher.open(background)
    made.desk.open(background)
    yield made
    made.flows.go.set()
    await made.batcher.close(within_s=5)
    await background.aclose()
    for client in (made.client, made.stranger, made.limits, readiness):
        await client.aclose()
    languages.close()
