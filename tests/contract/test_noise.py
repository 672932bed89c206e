"""Noise: what is drawn from the events runs once more on legacy, and is counted once. Legacy is played."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from crucible.models import Comparison
from crucible.rollout.assessment import NoiseCount
from crucible.rollout.epoch import EpochKey
from crucible.rollout.stage import Stage
from crucible.settings import FlowSettings, GateSettings
from crucible.store import Store, sqlite_url
from flows.duties.reruns import NoiseSampler
from flows.host import FlowHost
from flows.rules import Rules
from tasks.events import EventKind, EventLog, EventReader
from tasks.exchange import Exchange
from tests.support.duties import checkpoint_of
from tests.support.ledger import comparison
from tests.support.scripted_leg import ScriptedLeg, exchange
from tests.support.traffic import at_stage, submitted
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]


class Legacy:
    """A script: answers ``says``, or nothing where ``is_silent``; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says = b"1\n"
        self.is_silent = False

    def __call__(self, leg: ScriptedLeg, run_id: str, _sent: int) -> None:
        self.asked.append(run_id)
        if not self.is_silent:
            leg.answer(run_id, stdout_b64=b64encode(self.says).decode())


@pytest.fixture
async def store(tmp_path: Path, valkey: Valkey) -> AsyncIterator[Store]:
    """An empty store at stage ``shadow``, of which all is drawn."""
    with valkey.client() as client:
        client.flushall()
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    policy = GateSettings(noise_share=1)
    await opened.rollout.open_epoch(EpochKey(legacy_build="1", celery_build="3", policy=policy), "test")
    await at_stage(opened, Stage.SHADOW)
    yield opened
    await opened.close()


@pytest.fixture
def legacy() -> Legacy:
    return Legacy()


@pytest.fixture
async def asking(store: Store, valkey: Valkey, legacy: Legacy) -> AsyncIterator[Exchange]:
    """Asks ``legacy``. Comes after ``store``, which empties the server."""
    async with exchange(valkey, legacy, FlowSettings()) as (opened, _):
        yield opened


async def settled(store: Store, valkey: Valkey, *found: Comparison) -> None:
    """Settles these and tells of it as a flow host does."""
    events = EventLog(valkey.url)
    for each in (await store.settle(list(found))).comparisons:
        data = {
            "id": each.evaluation_id,
            "classification": each.classification,
            "answered_by": each.answered_by,
        }
        events.put(EventKind.SETTLED, data)
    await events.close()


@pytest.fixture
async def events(valkey: Valkey) -> AsyncIterator[EventReader]:
    async with aclosing(EventReader(valkey.url)) as reader:
        yield reader


async def sampler(
    store: Store, asking: Exchange, events: EventReader, owner: str = "one", before: str = "nobody"
) -> NoiseSampler:
    """That of a controller that takes the duty."""
    host = SimpleNamespace(store=store, rules=Rules(store, None), exchange=asking, reply_stream="replies")
    return NoiseSampler(cast("FlowHost", host), events, await checkpoint_of(store, "noise", owner, before))


async def noise(store: Store) -> NoiseCount:
    return (await store.rollout.look()).inputs.noise


async def test_what_is_settled_from_now_on_is_run_once_more_whoever_has_the_duty(
    store: Store, valkey: Valkey, legacy: Legacy, asking: Exchange, events: EventReader
) -> None:
    before, *after = await submitted(store, 3)
    await settled(store, valkey, comparison(before))
    one = await sampler(store, asking, events)
    await one.round()
    await settled(store, valkey, comparison(after[0]))
    await one.round()
    two = await sampler(store, asking, events, "two", before="one")
    await settled(store, valkey, comparison(after[1]))
    await two.round()
    await two.round()
    assert legacy.asked == [f"{each}.100" for each in after]
    assert (await noise(store)).reruns == 2


async def test_what_was_settled_while_there_was_no_controller_is_run_by_the_next(
    store: Store, valkey: Valkey, legacy: Legacy, asking: Exchange, events: EventReader
) -> None:
    await (await sampler(store, asking, events)).round()
    await store.duties.give_up("one")
    ids = await submitted(store, 5)
    await settled(store, valkey, *map(comparison, ids))
    await (await sampler(store, asking, events, "two")).round()
    assert legacy.asked == [f"{each}.100" for each in ids]


async def test_two_who_draw_the_same_count_it_once(
    store: Store, valkey: Valkey, legacy: Legacy, asking: Exchange, events: EventReader
) -> None:
    """The first has lost the duty in the middle of its round, and its checkpoint is not moved."""
    one = await sampler(store, asking, events)
    await one.round()
    (evaluation_id,) = await submitted(store)
    await settled(store, valkey, comparison(evaluation_id))
    legacy.says = b"another\n"
    two = await sampler(store, asking, events, "two", before="one")
    await one.round()
    await two.round()
    found = await noise(store)
    assert len(legacy.asked) == 2
    assert (found.reruns, found.only_celery, found.only_legacy) == (1, 0, 1)


async def test_what_only_one_leg_saw_is_not_drawn(
    store: Store, valkey: Valkey, legacy: Legacy, asking: Exchange, events: EventReader
) -> None:
    one = await sampler(store, asking, events)
    await one.round()
    (evaluation_id,) = await submitted(store)
    alone = comparison(evaluation_id).model_copy(update={"celery": None})
    await settled(store, valkey, alone)
    await one.round()
    assert legacy.asked == []


async def test_what_is_under_way_when_the_duty_is_lost_is_counted_by_who_has_it_next(
    store: Store, valkey: Valkey, legacy: Legacy, asking: Exchange, events: EventReader
) -> None:
    one = await sampler(store, asking, events)
    await one.round()
    (evaluation_id,) = await submitted(store)
    await settled(store, valkey, comparison(evaluation_id))
    legacy.is_silent = True
    losing = asyncio.create_task(one.round())
    await eventually(lambda: legacy.asked)
    losing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await losing
    legacy.is_silent = False
    await (await sampler(store, asking, events, "two", before="one")).round()
    assert (await noise(store)).reruns == 1
