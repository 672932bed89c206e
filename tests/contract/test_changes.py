"""Events of changes that nobody else sends: each is sent once, whoever has the duty, and none is missed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, cast

import pytest

from crucible.rollout.stage import Stage
from crucible.settings import BreakerSettings
from crucible.store import Store, sqlite_url
from flows.duties.alarm import Changes
from tasks.background import BackgroundServices
from tasks.events import EVENTS_KEY, EventLog
from tasks.resilience.breaker import SHARED, breakers_of_process
from tests.support.duties import checkpoint_of
from tests.support.traffic import at_stage
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]


@pytest.fixture
async def store(tmp_path: Path, valkey: Valkey) -> AsyncIterator[Store]:
    """An empty store, and a Redis in which nothing is."""
    with valkey.client() as client:
        client.flushall()
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


@asynccontextmanager
async def sending(
    store: Store, valkey: Valkey, owner: str = "one", before: str = "nobody"
) -> AsyncIterator[Changes]:
    """The duty of a controller that takes it; all that it sends is written by the end."""
    events = EventLog(valkey.url)
    background = BackgroundServices()
    events.open(background)
    checkpoint = await checkpoint_of(store, "changes", owner, before)
    with closing(Changes(store.rollout, valkey.url, events, checkpoint)) as changes:
        yield changes
    await events.close()
    await background.aclose()


def sent(valkey: Valkey) -> list[tuple[str, dict[str, Any]]]:
    """The kinds and data of all events."""
    with valkey.client() as client:
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(EVENTS_KEY))
    return [(fields[b"kind"].decode(), json.loads(fields[b"data"])) for _, fields in entries]


async def test_a_change_of_the_rollout_is_sent_once_and_what_was_before_is_not(
    store: Store, valkey: Valkey
) -> None:
    await at_stage(store, Stage.SHADOW)
    async with sending(store, valkey) as one, sending(store, valkey, "two", before="one") as two:
        await two.round()
        await at_stage(store, Stage.CANARY, 20)
        await one.round()  # it is not its duty any more
        await two.round()
        await two.round()
    ((kind, data),) = sent(valkey)
    assert (kind, data["stage"], data["share"]) == ("rollout.changed", "canary", 20)


async def test_what_changed_while_there_was_no_controller_is_sent_by_the_next(
    store: Store, valkey: Valkey
) -> None:
    async with sending(store, valkey) as one:
        await one.round()
    await store.duties.give_up("one")
    await at_stage(store, Stage.CANARY, 20)
    async with sending(store, valkey, "two") as two:
        await two.round()
    assert [kind for kind, _ in sent(valkey)] == ["rollout.changed"]


async def test_a_breaker_that_opens_is_sent(store: Store, valkey: Valkey) -> None:
    async with sending(store, valkey) as changes:
        await changes.round()
        await asyncio.to_thread(opened, valkey.url, SHARED[0])
        await changes.round()
        await changes.round()
    ((kind, data),) = sent(valkey)
    assert (kind, data["dependency"], data["state"]) == ("breaker.changed", SHARED[0], "open")
    assert data["open_until"] is not None


def opened(url: str, dependency: str) -> None:
    """Has the breaker of ``dependency`` open."""
    with closing(breakers_of_process(url)) as breakers:
        breaker = breakers.shared(dependency)
        for _ in range(BreakerSettings().minimum):
            breaker.leave(breaker.admit(), "failed")
