"""Who is told when the migration turns back by itself: a real store, and a receiver that listens."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest
from flows.alarm import Alarm
from tasks.once import Once, once_key

from crucible.rollout.stage import Stage
from crucible.store import Store, sqlite_url
from flows import alarm as alarm_module
from tests.support.traffic import at_stage, mismatched
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually
from tests.support.webhook import Receiver

__all__ = ["valkey"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


@pytest.fixture
async def once(valkey: Valkey) -> AsyncIterator[Once]:
    shared = Once(valkey.url)
    yield shared
    await shared.aclose()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    listening = Receiver()
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_URL", listening.url)
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_SECRET", "a long random text")
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_ALLOW_PRIVATE", "true")
    yield listening
    listening.close()


async def test_what_nobody_asked_for_is_told_once_by_two_who_look_and_what_people_do_is_not(
    store: Store, once: Once, receiver: Receiver
) -> None:
    alarm, other = Alarm(store, once), Alarm(store, once)
    await at_stage(store, Stage.CANARY)
    await mismatched(store, 1, critical=True)
    await alarm.look()
    await other.look()
    assert receiver.posted == [], "it was so before"

    await store.rollout.set("ada", "", new_epoch=True)
    await at_stage(store, Stage.LIVE)
    await store.rollout.rollback("ada", "by hand")
    await store.rollout.set("ada", "", new_epoch=True)
    await at_stage(store, Stage.CANARY)
    await mismatched(store, 1, critical=True)
    await alarm.look()
    await other.look()
    await alarm.look()

    (posted,) = receiver.posted
    told = orjson.loads(posted.body)
    assert (told["event"], told["stage_before"], told["stage"]) == ("rollback", "canary", "legacy")
    assert posted.headers["x-crucible-signature"].startswith("t=")


async def turned_back(store: Store) -> str:
    """Has the migration turn back by itself; returns the mark of that."""
    await at_stage(store, Stage.CANARY)
    await mismatched(store, 1, critical=True)
    return once_key(f"alarm:{(await store.rollout.history(1))[-1].hash}")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not told is told again soon."""
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_WITHIN_S", "0.2")
    monkeypatch.setattr(alarm_module, "_GRACE_S", 0.2)
    monkeypatch.setattr(alarm_module, "_LOOK_EVERY_S", 0.02)


@pytest.mark.usefixtures("hasty")
async def test_what_the_webhook_refused_is_told_again_until_it_is_taken(
    store: Store, once: Once, receiver: Receiver, valkey: Valkey
) -> None:
    receiver.answers = [400, 400]
    alarm = Alarm(store, once)
    await alarm.look()
    mark = await turned_back(store)
    running = asyncio.create_task(alarm.run())
    with valkey.client() as client:
        await eventually(lambda: int(client.pttl(mark)) > 3_600_000)
    running.cancel()
    assert len(receiver.posted) == 3


async def test_what_a_process_that_ends_was_about_to_tell_another_tells(
    store: Store, once: Once, receiver: Receiver, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.status = 503
    ending, other = Alarm(store, once), Alarm(store, once)
    await ending.look()
    await other.look()
    mark = await turned_back(store)
    telling = asyncio.create_task(ending.look())
    await eventually(lambda: bool(receiver.posted))
    monkeypatch.setattr(alarm_module, "_LOOK_EVERY_S", 0.02)
    other._attempt_s = 0.1
    await other.look()
    telling.cancel()
    await asyncio.wait({telling})
    receiver.status = 204
    with valkey.client() as client:
        client.delete(mark)  # its time is over
        running = asyncio.create_task(other.run())
        await eventually(lambda: int(client.pttl(mark)) > 3_600_000)
    running.cancel()
