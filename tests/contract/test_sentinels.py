"""Sentinels: one each so often, whoever has the duty, and only where legacy is off. The store is real."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crucible.rollout.epoch import EpochKey
from crucible.rollout.stage import Stage
from crucible.settings import GateSettings
from crucible.store import Store, Ticket, sqlite_url
from flows.duties.leases import Checkpoint
from flows.duties.reruns import Sentinels
from tests.support.duties import checkpoint_of
from tests.support.traffic import at_stage, matched
from tests.support.waiting import eventually

EVERY_S = 600.0


class Queue:
    """As the batcher of flow runs: what was put there."""

    def __init__(self) -> None:
        self.put_there: list[str] = []
        self.has_room = True

    def reserve(self, number: int) -> bool:
        assert number == 1
        return self.has_room

    def put(self, tickets: Sequence[Ticket]) -> None:
        self.put_there += [each.id for each in tickets]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store with one reference in it, at stage ``celery``."""
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    policy = GateSettings(sentinel_every_s=EVERY_S)
    await opened.rollout.open_epoch(EpochKey(legacy_build="1", celery_build="3", policy=policy), "test")
    await at_stage(opened, Stage.SHADOW)
    await matched(opened, 1)
    await at_stage(opened, Stage.CELERY)
    yield opened
    await opened.close()


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def sentinels_of(store: Store, queue: Queue, owner: str = "one", before: str = "nobody") -> Sentinels:
    """Those of a controller that takes the duty."""
    return Sentinels(store, queue, await checkpoint_of(store, "sentinels", owner, before))


async def open_ones(store: Store) -> list[str]:
    """What is in the ledger and has no column."""
    found = await store.ownership.in_hand(None, datetime.now(UTC) + timedelta(hours=1), 100)
    return [each.id for each in found]


async def test_in_a_period_one_is_sent_however_often_the_duty_changes_hands(
    store: Store, queue: Queue
) -> None:
    one = await sentinels_of(store, queue)
    await one.round()
    await one.round()
    two = await sentinels_of(store, queue, "two", before="one")
    await two.round()
    await one.round()
    assert queue.put_there == await open_ones(store)
    assert len(queue.put_there) == 1


async def test_the_next_period_has_one_of_its_own(store: Store, queue: Queue) -> None:
    one = await sentinels_of(store, queue)
    await one.round()
    long_ago = datetime.now(UTC) - timedelta(seconds=EVERY_S + 1)
    assert await store.duties.save_checkpoint("sentinels", "one", long_ago.isoformat())
    await one.round()
    assert len(queue.put_there) == 2


async def test_whoever_has_lost_the_duty_sends_none(store: Store, queue: Queue) -> None:
    one = await sentinels_of(store, queue)
    await sentinels_of(store, queue, "two", before="one")
    await one.round()
    assert await open_ones(store) == []


async def test_while_legacy_runs_there_are_none(store: Store, queue: Queue) -> None:
    await at_stage(store, Stage.LIVE)
    await (await sentinels_of(store, queue)).round()
    assert await open_ones(store) == []


async def test_one_without_room_stays_in_the_ledger(store: Store, queue: Queue) -> None:
    queue.has_room = False
    await (await sentinels_of(store, queue)).round()
    assert len(await open_ones(store)) == 1
    assert queue.put_there == []


async def test_one_that_is_noted_is_sent_although_the_lease_ends_then(store: Store, queue: Queue) -> None:
    class EndingWithTheLease(Checkpoint):
        async def save(self, value: str) -> bool:
            saved = await super().save(value)
            losing.cancel()
            return saved

    await checkpoint_of(store, "sentinels")
    sentinels = Sentinels(store, queue, EndingWithTheLease(store.duties, "sentinels", "one"))
    losing = asyncio.create_task(sentinels.round())
    with pytest.raises(asyncio.CancelledError):
        await losing
    await eventually(lambda: bool(queue.put_there))
    assert queue.put_there == await open_ones(store)
