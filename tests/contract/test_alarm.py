"""Who is told when the migration turns back by itself: a real store, and a receiver that listens."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest

from crucible.rollout.stage import Stage
from crucible.store import Store, sqlite_url
from flows.duties import alarm as alarm_module
from flows.duties.alarm import Alarm, Progress
from tests.support.duties import checkpoint_of
from tests.support.traffic import at_stage, mismatched
from tests.support.waiting import eventually
from tests.support.webhook import Receiver


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    listening = Receiver()
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_URL", listening.url)
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_SECRET", "a long random text")
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_ALLOW_PRIVATE", "true")
    yield listening
    listening.close()


async def alarm_of(store: Store, owner: str = "one", before: str = "nobody") -> Alarm:
    """The alarm of a controller that takes the duty."""
    return Alarm(store.rollout, await checkpoint_of(store, "alarm", owner, before))


async def turned_back(store: Store) -> int:
    """Has the migration turn back by itself; returns the place of that in the log."""
    await store.rollout.set("ada", "", new_epoch=True)
    await at_stage(store, Stage.CANARY)
    await mismatched(store, 1, critical=True)
    return (await store.rollout.history(1))[-1].seq


def posted(receiver: Receiver) -> list[int]:
    """The places in the log of what was posted."""
    return [orjson.loads(each.body)["audit_seq"] for each in receiver.posted]


async def test_what_nobody_asked_for_is_posted_once_by_two_in_turn_and_what_people_do_is_not(
    store: Store, receiver: Receiver
) -> None:
    await turned_back(store)
    alarm = await alarm_of(store)
    await alarm.round()
    assert receiver.posted == [], "it was so before there was a controller"

    await at_stage(store, Stage.LIVE)
    await store.rollout.rollback("ada", "by hand")
    seq = await turned_back(store)
    await alarm.round()
    await alarm.round()
    await (await alarm_of(store, "two", before="one")).round()

    assert posted(receiver) == [seq]
    told = orjson.loads(receiver.posted[0].body)
    assert (told["event"], told["stage_before"], told["stage"]) == ("rollback", "canary", "legacy")
    assert receiver.posted[0].headers["x-crucible-signature"].startswith("t=")


async def test_what_happened_while_there_was_no_controller_is_posted_by_the_next(
    store: Store, receiver: Receiver
) -> None:
    await (await alarm_of(store)).round()
    await store.duties.give_up("one")
    seqs = [await turned_back(store) for _ in range(12)]  # with what lies between, beyond one page of the log

    await (await alarm_of(store, "two")).round()

    assert posted(receiver) == seqs


async def test_whoever_has_lost_the_duty_posts_nothing(store: Store, receiver: Receiver) -> None:
    alarm = await alarm_of(store)
    await alarm.round()
    await alarm_of(store, "two", before="one")
    await turned_back(store)

    await alarm.round()

    assert receiver.posted == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not taken is posted again soon."""
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_WITHIN_S", "0.2")
    monkeypatch.setattr(alarm_module, "_GRACE_S", 0.2)


@pytest.mark.usefixtures("hasty")
async def test_what_the_webhook_refused_is_posted_again_until_it_is_taken_whoever_has_the_duty(
    store: Store, receiver: Receiver
) -> None:
    receiver.answers = [400, 400]
    alarm = await alarm_of(store)
    await alarm.round()
    seq = await turned_back(store)
    await alarm.round()
    await alarm.round()
    assert posted(receiver) == [seq], "not before its time"

    other = await alarm_of(store, "two", before="one")
    async with asyncio.timeout(30):
        while len(receiver.posted) < 3:
            await other.round()
    await other.round()
    await (await alarm_of(store, "three", before="two")).round()

    assert posted(receiver) == [seq] * 3


@pytest.mark.usefixtures("hasty")
async def test_what_is_refused_keeps_nothing_that_comes_later(store: Store, receiver: Receiver) -> None:
    receiver.answers = [400]
    alarm = await alarm_of(store)
    await alarm.round()
    refused = await turned_back(store)
    await alarm.round()
    later = await turned_back(store)
    async with asyncio.timeout(30):
        while len(receiver.posted) < 3:
            await alarm.round()
    assert sorted(posted(receiver)) == [refused, refused, later]


async def test_what_a_controller_that_ends_was_about_to_post_another_posts(
    store: Store, receiver: Receiver
) -> None:
    receiver.status = 503
    ending = await alarm_of(store)
    await ending.round()
    seq = await turned_back(store)
    posting = asyncio.create_task(ending.round())
    await eventually(lambda: bool(receiver.posted))
    posting.cancel()
    await asyncio.wait({posting})
    receiver.status, tried = 204, len(receiver.posted)

    await (await alarm_of(store, "two", before="one")).round()

    assert posted(receiver)[tried:] == [seq]


async def test_without_a_webhook_nothing_stays_open(store: Store) -> None:
    alarm = await alarm_of(store)
    await alarm.round()
    seq = await turned_back(store)
    await alarm.round()
    assert Progress.model_validate_json(await store.duties.checkpoint("alarm") or "") == Progress(seq=seq)
