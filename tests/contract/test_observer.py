"""What every API process sees, one of them tells."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tasks.once import Once

from api.standing import Observer
from crucible.rollout.stage import Stage
from crucible.store import Store, sqlite_url
from flows.host import Endpoints
from tasks.events import EVENTS_KEY, EventLog
from tests.support.traffic import at_stage
from tests.support.valkey import Valkey, free_port, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


@asynccontextmanager
async def observing(store: Store, valkey: Valkey) -> AsyncIterator[Observer]:
    """An observer as each API process has one; all that it tells is written by the end."""
    executors = [f"http://127.0.0.1:{free_port()}"] * 3
    events = EventLog(valkey.url)
    events.open()
    endpoints = Endpoints("", valkey.url, valkey.url)
    async with (
        aclosing(Once(valkey.url)) as once,
        aclosing(Observer(store, endpoints, executors, events, once)) as observer,
    ):
        running = asyncio.create_task(observer.run())
        yield observer
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await events.close()


async def test_of_three_who_see_that_the_rollout_changed_one_tells_it(store: Store, valkey: Valkey) -> None:
    async with AsyncExitStack() as processes:
        observers = [await processes.enter_async_context(observing(store, valkey)) for _ in range(3)]
        await eventually(lambda: all(each._version is not None for each in observers))
        await at_stage(store, Stage.CANARY, 20)
        version = (await store.rollout.state()).version
        await eventually(lambda: all(each._version == version for each in observers))
    with valkey.client() as client:
        told = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(EVENTS_KEY))
    found: list[Any] = [fields[b"kind"] for _, fields in told]
    assert found == [b"rollout.changed"]
