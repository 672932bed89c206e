"""Each evaluation of a batch runs on the legs of its route, and nothing stays without an answer for it.

The store, the reply stream and the claims are real; the legs are scripted.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from crucible.ids import new_evaluation_id, new_evaluation_ids
from crucible.models import Classification, Comparison
from crucible.rollout.stage import Stage
from crucible.settings import FlowSettings
from crucible.store import Store, Submission, sqlite_url
from tasks.background import BackgroundServices
from tasks.batch import Batch
from tasks.cancellation import Cancellations
from tasks.exchange import Exchange
from tasks.replies import ReplyReader
from tasks.settler import Settler
from tests.support.ledger import evaluation
from tests.support.scripted_leg import Script, ScriptedLeg
from tests.support.traffic import at_stage, matched, submitted
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]

Legs = dict[str, ScriptedLeg]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


class Host:
    """What a flow host has, with scripted legs."""

    def __init__(self, store: Store, exchange: Exchange, stream: str, legs: Legs) -> None:
        self.store, self.exchange, self.stream, self.legs = store, exchange, stream, legs
        self.settled: list[Comparison] = []
        self.settler = Settler(store, self.settled.append, self.settled.append, lambda: False)

    async def run(self, ids: list[str], run: int = 0) -> Batch:
        """What the flow does, and what it does for orphans."""
        batch = Batch(
            await self.store.work(ids), run, "flow-run", self.exchange, self.stream, self.settler.put
        )
        for leg in ("legacy", "celery"):
            await batch.ask(leg)
        await self.settler.flush()
        if orphaned := self.settler.take_orphans(ids):
            batch.reopen(orphaned, "legacy")
            await batch.ask("legacy")
            await self.settler.flush()
        return batch


@asynccontextmanager
async def host(store: Store, server: Valkey, script: Script) -> AsyncIterator[Host]:
    stream = f"replies-{uuid4().hex}"
    legs: Legs = {leg: ScriptedLeg(leg, server, stream, script) for leg in ("legacy", "celery")}
    settings = FlowSettings(max_faults=1)
    cancellations = Cancellations(server.url, {})
    exchange = Exchange(tuple(legs.values()), ReplyReader(server.url, stream), cancellations, settings)
    opened = Host(store, exchange, stream, legs)
    background = BackgroundServices()
    exchange.open(background)
    opened.settler.open(background)
    try:
        yield opened
    finally:
        await opened.settler.close()
        await exchange.close()


def answers(leg: ScriptedLeg, run_id: str, _: int) -> None:
    leg.answer(run_id)


@pytest.mark.parametrize(
    ("stage", "sample", "legs", "classification", "by"),
    [
        (Stage.LEGACY, 0, {"legacy"}, Classification.NOT_SAMPLED, "legacy"),
        (Stage.SHADOW, 0, {"legacy", "celery"}, Classification.MATCH, "legacy"),
        (Stage.CANARY, 0, {"legacy", "celery"}, Classification.MATCH, "celery"),
        (Stage.LIVE, 100, {"legacy", "celery"}, Classification.MATCH, "celery"),
        (Stage.LIVE, 0, {"celery"}, Classification.NOT_SAMPLED, "celery"),
        (Stage.CELERY, 100, {"celery"}, Classification.NOT_SAMPLED, "celery"),
    ],
)
async def test_the_stage_says_who_runs_and_who_answers(
    store: Store,
    valkey: Valkey,
    stage: Stage,
    sample: float,
    legs: set[str],
    classification: Classification,
    by: str,
) -> None:
    await at_stage(store, stage, sample=sample, held=True)
    ids = await submitted(store, 3)

    async with host(store, valkey, answers) as opened:
        await opened.run(ids)

    assert {name for name, leg in opened.legs.items() if leg.sent} == legs
    assert {(each.classification, each.answered_by) for each in opened.settled} == {(classification, by)}
    assert (await store.rollout.verify()).ok


async def test_what_celery_alone_ran_and_lost_legacy_answers_and_the_migration_turns_back(
    store: Store, valkey: Valkey
) -> None:
    await at_stage(store, Stage.LIVE, sample=0)
    ids = await submitted(store, 2)

    def script(leg: ScriptedLeg, run_id: str, _: int) -> None:
        (leg.fault if leg.leg == "celery" else leg.answer)(run_id)

    async with host(store, valkey, script) as opened:
        await opened.run(ids)

    assert {(each.classification, each.answered_by) for each in opened.settled} == {
        (Classification.UNPAIRED, "legacy")
    }
    assert (await store.rollout.state()).stage is Stage.LEGACY


async def test_what_was_under_way_on_celery_alone_when_the_migration_turned_back_legacy_answers(
    store: Store, valkey: Valkey
) -> None:
    await at_stage(store, Stage.LIVE, sample=0)
    ids = await submitted(store, 2)

    def wrongly(leg: ScriptedLeg, run_id: str, _: int) -> None:
        leg.answer(run_id, **({"exit_code": 1} if leg.leg == "celery" else {}))

    async with host(store, valkey, wrongly) as opened:
        await store.rollout.rollback("test", "")
        batch = await opened.run(ids)

    assert {each.answered_by for each in opened.settled} == {"legacy"}
    assert {each.classification for each in batch.comparisons} == {Classification.MISMATCH}


async def shed(store: Store, number: int) -> list[str]:
    """Ids of so many evaluations of traffic that came when there was too much of it."""
    found = [
        Submission(each, evaluation(), is_traffic=True, alone=True) for each in new_evaluation_ids(number)
    ]
    await store.submit(found)
    return [each.id for each in found]


@pytest.mark.parametrize(
    ("stage", "by"), [(Stage.SHADOW, "legacy"), (Stage.CANARY, "celery"), (Stage.LIVE, "celery")]
)
async def test_what_went_without_its_shadow_is_answered_and_is_no_evidence(
    store: Store, valkey: Valkey, stage: Stage, by: str
) -> None:
    await at_stage(store, stage, sample=100, held=True)
    ids = await shed(store, 3)

    async with host(store, valkey, answers) as opened:
        await opened.run(ids)

    assert {name for name, leg in opened.legs.items() if leg.sent} == {by}
    assert {(each.classification, each.answered_by) for each in opened.settled} == {
        (Classification.NOT_SAMPLED, by)
    }
    counted = (await store.rollout.look()).inputs
    assert counted.seq == 0, "no pair, no evidence"
    assert (counted.strata["all"].not_sampled, counted.strata["all"].pairs) == (3, 0)
    assert (await store.rollout.verify()).ok


async def test_what_went_without_its_shadow_and_celery_lost_legacy_answers(
    store: Store, valkey: Valkey
) -> None:
    await at_stage(store, Stage.CANARY)
    ids = await shed(store, 2)

    def script(leg: ScriptedLeg, run_id: str, _: int) -> None:
        (leg.fault if leg.leg == "celery" else leg.answer)(run_id)

    async with host(store, valkey, script) as opened:
        await opened.run(ids)

    assert {each.answered_by for each in opened.settled} == {"legacy"}
    assert (await store.rollout.verify()).ok


async def test_a_sentinel_is_compared_with_what_legacy_answered_then(store: Store, valkey: Valkey) -> None:
    (recorded,) = await matched(store, 1)
    await at_stage(store, Stage.CELERY)
    sentinel = new_evaluation_id()
    await store.submit([Submission(sentinel, evaluation(), is_traffic=True, reference=recorded)])

    async with host(store, valkey, answers) as opened:
        first = await opened.run([sentinel])
        again = await opened.run([sentinel], run=1)

    assert not opened.legs["legacy"].sent, "legacy is off"
    for batch in (first, again):
        (found,) = batch.comparisons
        assert found.classification is Classification.MISMATCH, "it printed nothing, legacy had printed 1"


async def test_re_runs_go_to_both_legs_whoever_ran_it_first(store: Store, valkey: Valkey) -> None:
    await at_stage(store, Stage.LIVE, sample=0)
    ids = await submitted(store, 1)

    async with host(store, valkey, answers) as opened:
        await opened.run(ids, run=1)

    assert all(leg.sent for leg in opened.legs.values())


async def test_each_leg_s_waiting_is_told_apart_from_its_work(store: Store, valkey: Valkey) -> None:
    ids = await submitted(store, 1)

    async with host(store, valkey, answers) as opened:
        (found,) = (await opened.run(ids)).comparisons

    assert set(found.waited_s) == {"legacy", "celery"}
    assert all(waited >= 0 for waited in found.waited_s.values())
    stored = await store.comparison(found.evaluation_id)
    assert stored is not None
    assert stored.waited_s == found.waited_s
