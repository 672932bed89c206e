"""A request that waits for a mismatch is answered when another process has confirmed it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from api import orders as module
from api.feed import Feed
from api.orders import CompletedElsewhere, Waiters
from crucible.models import Comparison
from crucible.store import Store, sqlite_url
from tasks.background import BackgroundServices
from tasks.events import EventKind, EventLog
from tests.support.ledger import comparison
from tests.support.traffic import differing, submitted
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]

LONG_S, SHORT_S = 60.0, 0.05


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


class Api(NamedTuple):
    """What of an API process has to do with it."""

    waiters: Waiters
    completed: CompletedElsewhere


@pytest.fixture
async def api(valkey: Valkey, store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """It reads the ledger when an event says so, and else not."""
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 3600.0)
    async with running(valkey, store) as made:
        yield made


@asynccontextmanager
async def running(valkey: Valkey, store: Store) -> AsyncIterator[Api]:
    waiters, services = Waiters(), BackgroundServices()
    completed = CompletedElsewhere(store, waiters)
    async with aclosing(Feed(valkey.url, completed.on_event)) as feed:
        feed.open(services)
        services.every(0, "answers", completed.round)
        async with asyncio.timeout(60):
            while feed.place == "0-0" and await newest(valkey) != "0-0":  # noqa: ASYNC110 (it reads)
                await asyncio.sleep(0.01)
        yield Api(waiters, completed)
        await services.aclose()


async def newest(valkey: Valkey) -> str:
    with valkey.client() as client:
        return "0-0" if not client.exists("crucible:events") else "some"


async def told(valkey: Valkey, kind: EventKind, evaluation_id: str) -> None:
    """Another process tells of an evaluation."""
    events = EventLog(valkey.url)
    events.put(kind, {"id": evaluation_id})
    await events.close()


async def confirmed(store: Store, first: Comparison) -> None:
    """Another process confirms a mismatch."""
    assert await store.reclassify(first.model_copy(update={"reruns": 3}))


async def mismatched_here(store: Store, api: Api) -> Comparison:
    """A mismatch that was settled in this process."""
    (evaluation_id,) = await submitted(store)
    (first,) = (await store.settle([differing(evaluation_id)])).comparisons
    return first


async def test_a_mismatch_is_answered_once_an_event_says_that_it_is_confirmed(
    valkey: Valkey, store: Store, api: Api
) -> None:
    first = await mismatched_here(store, api)
    with api.waiters.awaiting([first.evaluation_id]) as awaited:
        api.completed.put(first)
        await api.completed.look()
        assert await awaited.within(SHORT_S) == {}, "it is not confirmed yet"
        await confirmed(store, first)
        await told(valkey, EventKind.CONFIRMED, first.evaluation_id)
        found = await awaited.within(LONG_S)
    assert found[first.evaluation_id].reruns == 3


async def test_what_could_not_be_run_again_is_answered_as_it_stands(
    valkey: Valkey, store: Store, api: Api
) -> None:
    first = await mismatched_here(store, api)
    with api.waiters.awaiting([first.evaluation_id]) as awaited:
        api.completed.put(first)
        await told(valkey, EventKind.CONFIRMED, first.evaluation_id)
        found = await awaited.within(LONG_S)
    assert found[first.evaluation_id].reruns == 0


async def test_what_another_process_has_settled_is_answered(valkey: Valkey, store: Store, api: Api) -> None:
    (evaluation_id,) = await submitted(store)
    with api.waiters.awaiting([evaluation_id]) as awaited:
        await store.settle([comparison(evaluation_id)])
        await told(valkey, EventKind.SETTLED, evaluation_id)
        assert set(await awaited.within(LONG_S)) == {evaluation_id}


async def test_without_the_event_the_ledger_is_read_all_the_same(
    valkey: Valkey, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", SHORT_S)
    async with running(valkey, store) as api:
        first = await mismatched_here(store, api)
        with api.waiters.awaiting([first.evaluation_id]) as awaited:
            api.completed.put(first)
            await confirmed(store, first)
            assert set(await awaited.within(LONG_S)) == {first.evaluation_id}


async def test_who_waits_no_longer_costs_nothing(store: Store, api: Api) -> None:
    first = await mismatched_here(store, api)
    with api.waiters.awaiting([first.evaluation_id]):
        api.completed.put(first)
    await api.completed.look()
    assert api.completed._open == set()
