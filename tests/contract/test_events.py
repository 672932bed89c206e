"""Events over a real server: in order, resumed where one left off, and honest about what is lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from api import feed as feed_module
from api.feed import MOST_FOLLOWERS, Event, Feed
from tasks import events
from tasks.background import BackgroundServices
from tasks.events import EVENTS_KEY, EventKind, EventLog
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

PATIENCE_S = 240


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A server that a test may stop."""
    made = Valkey()
    made.start()
    yield made
    made.remove()


@asynccontextmanager
async def writing(server: Valkey) -> AsyncIterator[EventLog]:
    """The writing end, as a process has it."""
    log = EventLog(server.url)
    log.open(BackgroundServices())
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def reading(server: Valkey) -> AsyncIterator[Feed]:
    """The reading end, as an API process has it."""
    async with aclosing(Feed(server.url)) as feed:
        feed.open(BackgroundServices())
        yield feed


async def followed(feed: Feed, after: str | None, number: int) -> list[Event]:
    """The first ``number`` events after ``after``."""
    found = []
    async with asyncio.timeout(PATIENCE_S), aclosing(feed.follow(after)) as following:
        async for event in following:
            found.append(event)
            if len(found) == number:
                return found
    raise AssertionError("the feed has ended")


def put(log: EventLog, *numbers: int) -> None:
    """Tells of evaluations with these ids."""
    for number in numbers:
        log.put(EventKind.SETTLED, {"id": f"ev-{number}"})


def failures(service: str) -> float:
    """How often a background service of this process has failed."""
    return REGISTRY.get_sample_value("crucible_background_failures_total", {"service": service}) or 0.0


def ids(found: list[Event]) -> list[str]:
    """Of which evaluations these tell."""
    return [json.loads(each.data).get("id", each.kind) for each in found]


async def test_what_is_told_is_heard_in_order(server: Valkey) -> None:
    async with writing(server) as log, reading(server) as feed:
        put(log, *range(1200))
        assert ids(await followed(feed, "0-0", 1200)) == [f"ev-{number}" for number in range(1200)]


async def test_who_follows_from_now_on_hears_nothing_old(server: Valkey) -> None:
    async with reading(server) as feed:
        async with writing(server) as log:
            put(log, 1)
        following = asyncio.create_task(followed(feed, None, 1))
        await eventually(lambda: feed.followers == 1)
        async with writing(server) as log:
            put(log, 2)
        assert ids(await following) == ["ev-2"]


async def test_who_was_away_goes_on_after_the_last_one_seen(server: Valkey) -> None:
    async with writing(server) as log, reading(server) as feed:
        put(log, 1, 2)
        first, _ = await followed(feed, "0-0", 2)
        put(log, 3)
        assert ids(await followed(feed, first.id, 2)) == ["ev-2", "ev-3"]


async def test_two_who_follow_hear_the_same(server: Valkey) -> None:
    async with writing(server) as log, reading(server) as feed:
        both = [asyncio.create_task(followed(feed, "0-0", 100)) for _ in range(2)]
        put(log, *range(100))
        assert ids(await both[0]) == ids(await both[1])


async def test_what_is_not_kept_any_more_is_a_reset(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    async with writing(server) as log, reading(server) as feed:
        put(log, 1, 2)
        first, _ = await followed(feed, "0-0", 2)
        monkeypatch.setattr(events, "EVENTS_KEPT", 100)
        put(log, *range(3, 1000))
        await eventually(lambda: server.client().xinfo_stream(EVENTS_KEY)["entries-added"] == 999)
        (reset,) = await followed(feed, first.id, 1)
        assert reset.kind == "reset"
        following = asyncio.create_task(followed(feed, reset.id, 1))
        put(log, 1000)
        assert ids(await following) == ["ev-1000"]


async def test_a_redis_that_lost_everything_is_a_reset(server: Valkey) -> None:
    async with writing(server) as log, reading(server) as feed:
        put(log, 1)
        (seen,) = await followed(feed, "0-0", 1)
        server.client().flushall()
        assert [each.kind for each in await followed(feed, seen.id, 1)] == ["reset"]


async def test_events_wait_while_redis_is_away(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "_BLOCK_MS", 50)
    async with writing(server) as log, reading(server) as feed:
        put(log, 1)
        (seen,) = await followed(feed, "0-0", 1)
        there, before = asyncio.create_task(followed(feed, seen.id, 1)), failures("event feed")
        await eventually(lambda: feed.followers == 1)
        server.stop()
        put(log, 2)
        came = asyncio.create_task(followed(feed, seen.id, 1))
        await eventually(lambda: failures("event feed") > before + 1)
        server.start()
        assert ids(await there) == ids(await came) == ["ev-2"]


async def test_what_is_being_written_at_the_end_is_not_lost(server: Valkey) -> None:
    for steps in range(30):
        async with writing(server) as log:
            put(log, steps)
            for _ in range(steps):
                await asyncio.sleep(0)
    async with reading(server) as feed:
        assert ids(await followed(feed, "0-0", 30)) == [f"ev-{steps}" for steps in range(30)]


async def test_more_may_follow_than_there_are_connections(server: Valkey) -> None:
    async with writing(server) as log, reading(server) as feed:
        following = [asyncio.create_task(followed(feed, None, 1)) for _ in range(MOST_FOLLOWERS)]
        await eventually(lambda: feed.followers == MOST_FOLLOWERS)
        put(log, 1)
        assert [ids(each) for each in await asyncio.gather(*following)] == [["ev-1"]] * MOST_FOLLOWERS


async def test_everybody_is_let_go_at_the_end(server: Valkey) -> None:
    async with reading(server) as feed:
        following = asyncio.create_task(anext(feed.follow(None), None))
        await eventually(lambda: feed.followers == 1)
        feed.close()
        assert await following is None
