"""Who is told when the migration turns back by itself: a real store, and a receiver that listens."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest

from crucible.rollout.stage import Stage
from crucible.store import Store, sqlite_url
from flows.alarm import Alarm
from tests.support.traffic import at_stage, mismatched
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
    yield listening
    listening.close()


async def test_what_nobody_asked_for_is_told_once_and_what_people_do_is_not(
    store: Store, receiver: Receiver
) -> None:
    alarm = Alarm(store)
    await at_stage(store, Stage.CANARY)
    await mismatched(store, 1, critical=True)
    await alarm.look()
    assert receiver.posted == [], "it was so before"

    await store.rollout.set("ada", "", new_epoch=True)
    await at_stage(store, Stage.LIVE)
    await store.rollout.rollback("ada", "by hand")
    await store.rollout.set("ada", "", new_epoch=True)
    await at_stage(store, Stage.CANARY)
    await mismatched(store, 1, critical=True)
    await alarm.look()
    await alarm.look()

    (posted,) = receiver.posted
    told = orjson.loads(posted.body)
    assert (told["event"], told["stage_before"], told["stage"]) == ("rollback", "canary", "legacy")
    assert posted.headers["x-crucible-signature"].startswith("t=")
