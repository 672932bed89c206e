"""Spans on their way to the store, through a real Redis that may go away."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import redis

from crucible.store import Store, sqlite_url
from crucible.telemetry.lost import lost_spans
from crucible.telemetry.outbox import Outbox
from crucible.telemetry.record import SpanRecord
from tasks import span_stream
from tasks.span_mover import SpanMover
from tasks.span_stream import SPANS_KEY, SpanStream, span_writer
from tests.support.spans import streamed
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

TRACE = "a" * 32


@pytest.fixture(autouse=True)
def empty(valkey: Valkey) -> None:
    """Nothing in the stream."""
    with valkey.client() as client:
        client.flushall()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store of one's own."""
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


def records(*numbers: int) -> list[dict[str, object]]:
    """Spans that can be told apart."""
    return [
        SpanRecord(
            trace_id=TRACE,
            span_id=f"{number + 1:016x}",
            parent_id=None,
            name="claim",
            service="w",
            leg=None,
            started_us=time.time_ns() // 1000,
            duration_us=number,
        ).model_dump(mode="json")
        for number in numbers
    ]


async def moved(store: Store, number: int) -> list[int]:
    """Which spans the store has, once they are so many."""
    async with asyncio.timeout(60):
        while len(found := await store.spans.trace(TRACE)) < number:  # noqa: ASYNC110 (another task moves)
            await asyncio.sleep(0.02)
    return sorted(each.duration_us for each in found)


def mover(server: Valkey, store: Store, name: str) -> "asyncio.Task[None]":
    """A mover under way."""
    return asyncio.create_task(SpanMover(SpanStream(server.url, name), store).run())


async def test_what_processes_write_is_in_the_store_soon_and_in_redis_no_more(
    valkey: Valkey, store: Store
) -> None:
    moving = mover(valkey, store, "one")
    outbox = Outbox(span_writer(valkey.url))
    outbox.put(records(*range(500)))
    assert await moved(store, 500) == list(range(500))
    outbox.shutdown()
    await eventually(lambda: not streamed(valkey))
    moving.cancel()
    await asyncio.wait({moving})


async def test_several_movers_share_the_work_and_one_that_dies_loses_nothing(
    valkey: Valkey, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = span_writer(valkey.url)
    write(records(0))
    dying = SpanStream(valkey.url, "dying")
    while not await dying.take():  # the first look makes the group
        pass
    await dying.aclose()
    monkeypatch.setattr(span_stream, "_ABANDONED_MS", 0)
    movers = [mover(valkey, store, name) for name in ("one", "two")]
    for number in range(1, 50):
        write(records(number))
    assert await moved(store, 50) == list(range(50))
    for each in movers:
        each.cancel()
    await asyncio.wait(movers)


def unreadable() -> float:
    return lost_spans().labels("not readable")._value.get()


async def test_an_entry_that_nobody_can_read_holds_nobody_up(valkey: Valkey, store: Store) -> None:
    with valkey.client() as client:
        client.xadd(SPANS_KEY, {"spans": b"garbage"})
        client.xadd(SPANS_KEY, {"other": b""})
        misfit = records(6)[0] | {"trace_id": "none"}
        client.xadd(SPANS_KEY, {"spans": orjson.dumps([misfit, *records(5), misfit])})
    before = unreadable()
    span_writer(valkey.url)(records(7))
    moving = mover(valkey, store, "one")
    assert await moved(store, 2) == [5, 7]
    assert unreadable() - before == 4
    moving.cancel()
    await asyncio.wait({moving})


async def test_movers_wait_for_a_redis_that_restarts_without_its_data(valkey: Valkey, store: Store) -> None:
    moving = mover(valkey, store, "one")
    span_writer(valkey.url)(records(1))
    await moved(store, 1)
    valkey.stop()
    for file in valkey.folder.iterdir():
        if file.is_dir():
            for part in file.iterdir():
                part.unlink()
    valkey.start()
    span_writer(valkey.url)(records(2))
    assert await moved(store, 2) == [1, 2]
    moving.cancel()
    await asyncio.wait({moving})


def test_the_stream_is_bounded(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_stream, "ENTRIES_KEPT", 100)
    write = span_writer(valkey.url)
    for number in range(1000):
        write(records(number))
    with valkey.client() as client:
        assert client.xlen(SPANS_KEY) <= 300


def test_a_redis_that_is_away_is_said_at_once() -> None:
    with pytest.raises(redis.ConnectionError):
        span_writer("redis://127.0.0.1:1/0")(records(1))
