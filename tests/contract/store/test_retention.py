"""What is old goes, and the books stay true: totals, evidence, log and decisions."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.errors import StoreError
from crucible.ids import new_evaluation_ids, new_sweep_id
from crucible.models import Classification
from crucible.rollout.assessment import ALL
from crucible.rollout.epoch import EpochKey
from crucible.rollout.stage import Stage
from crucible.settings import GateSettings
from crucible.store import Store, Submission
from crucible.store import retention as rules
from crucible.store.database import Database, parse
from crucible.store.retention import prune as prune_all
from crucible.store.rollout_inputs import RawPair, raw_pairs
from crucible.telemetry.otlp import SpanRecord
from tests.support.ledger import comparison, evaluation
from tests.support.traffic import at_stage, differing, matched, mismatched, submitted


def tomorrow() -> datetime:
    """By then all that was done until now is old."""
    return datetime.now(UTC) + timedelta(days=1)


async def prune(store: Store, before: datetime | None = None) -> int:
    """Close and let go all that is old; how many evaluations went."""
    return (await prune_all(store.retention, before or tomorrow())).let_go


async def rows(url: str, query: str) -> list[Any]:
    """What ``query`` finds, beside the store."""
    database = Database(parse(url))
    async with database.write() as connection:
        found = await connection.execute(text(query))
        answer = [tuple(row) for row in found] if found.returns_rows else []
    await database.close()
    return answer


@pytest.fixture(autouse=True)
def no_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all but one of the pairs that agreed go, so that a few are enough to see it."""
    monkeypatch.setattr(rules, "REFERENCES_KEPT", 1)


async def history(store: Store) -> None:
    """An epoch with planted faults, changes of stage, and a way back by itself."""
    policy = GateSettings(mutant_share=0.5)
    await store.rollout.open_epoch(EpochKey(legacy_build="1", celery_build="3", policy=policy), "test")
    await matched(store, 20)
    await at_stage(store, Stage.CANARY)
    await matched(store, 10)
    await mismatched(store, 6)
    await store.rollout.set("test", "", new_epoch=True)


async def test_traffic_goes_and_every_total_and_decision_still_verifies(url: str, store: Store) -> None:
    await history(store)
    before = await store.rollout.look()
    actions = [each.action for each in await store.rollout.history()]
    assert "rollback" in actions

    assert await prune(store) == 35
    await matched(store, 5)

    found = await store.rollout.verify()
    assert (found.faults, found.pairs, found.closed) == ((), 41, 36)
    after = await store.rollout.look()
    assert after.inputs.seq == before.inputs.seq + 5
    assert (await store.rollout.epoch(1)).number == 1
    assert await rows(
        url, "SELECT submitted, matched, mismatched FROM tallies WHERE epoch = 1 AND stratum = 'all'"
    ) == [(36, 30, 6)]
    assert await rows(url, "SELECT count(*) FROM evaluations") == [(6,)]
    assert await prune(store, datetime.now(UTC) - timedelta(days=1)) == 0


async def test_pruning_goes_on_where_it_ended_and_evidence_is_numbered_on(store: Store) -> None:
    gone = []
    for _ in range(3):
        await matched(store, 4)
        await mismatched(store, 1)
        gone.append(await prune(store))
    assert gone == [4, 5, 5], "the newest pair that agreed stays"

    found = await store.rollout.verify()
    assert (found.faults, found.pairs, found.closed) == ((), 15, 15)
    inputs = (await store.rollout.look()).inputs
    assert (inputs.seq, inputs.strata[ALL].matched, inputs.strata[ALL].mismatched) == (15, 12, 3)
    await store.rollout.set("test", "a decision at a closed position", sample=20)
    assert (await store.rollout.verify()).faults == ()


async def test_a_sweep_s_totals_stay_when_its_evaluations_go(url: str, store: Store) -> None:
    sweep_id, ids = new_sweep_id(), new_evaluation_ids(4)
    await store.begin_sweep(sweep_id, {})
    await store.submit([Submission(each, evaluation(tags=["a"]), sweep_id) for each in ids])
    kinds = (Classification.MATCH, Classification.MISMATCH, Classification.UNPAIRED, Classification.CANCELLED)
    await store.settle([comparison(each, kind) for each, kind in zip(ids, kinds, strict=True)])
    counts = await store.counts(sweep_id)
    assert await prune(store) == 0, "the sweep has not ended"

    await store.ownership.end_sweeps(None)
    assert await prune(store) == 4

    assert await store.counts(sweep_id) == counts
    assert counts.balanced
    assert (await store.rollout.verify()).faults == ()
    for table in ("evaluations", "observations", "evaluation_tags"):
        assert await rows(url, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608


async def test_spans_of_what_goes_go_with_it_and_others_stay(url: str, store: Store) -> None:
    (evaluation_id,) = new_evaluation_ids(1)
    await store.submit([Submission(evaluation_id, evaluation())])
    await store.settle([comparison(evaluation_id)])
    theirs, others = "a" * 32, "b" * 32
    await rows(url, f"UPDATE evaluations SET traceparent = '00-{theirs}-{'1' * 16}-01'")  # noqa: S608
    await store.spans.add(
        [
            SpanRecord(
                trace_id=each,
                span_id="2" * 16,
                parent_id=None,
                leg=None,
                name="run",
                service="s",
                started_us=1,
                duration_us=1,
            )
            for each in (theirs, others)
        ]
    )

    assert await prune(store) == 1

    assert await store.spans.trace(theirs) == []
    assert len(await store.spans.trace(others)) == 1


async def test_what_is_open_or_unconfirmed_or_young_or_a_reference_stays(store: Store) -> None:
    (open_one,) = await submitted(store)
    (unconfirmed,) = await submitted(store)
    await store.settle([differing(unconfirmed)])
    _, reference = await matched(store, 2)
    assert await prune(store, datetime.now(UTC) - timedelta(days=1)) == 0

    assert await prune(store) == 1

    left = await store.evaluation_states([open_one, unconfirmed, reference])
    assert len(left) == 3
    assert await store.rollout.random_reference() == reference


@pytest.mark.parametrize("kind", [Classification.MISMATCH, Classification.NONDETERMINISTIC])
async def test_a_reference_from_which_a_sentinel_differed_is_not_drawn_again(
    store: Store, kind: Classification
) -> None:
    (reference,) = await matched(store, 1)
    (sentinel,) = new_evaluation_ids(1)
    await store.submit([Submission(sentinel, evaluation(), is_traffic=True, reference=reference)])
    await store.settle([differing(sentinel)])
    await store.reclassify(differing(sentinel).model_copy(update={"reruns": 3, "classification": kind}))

    assert await prune(store) == 0
    assert await store.rollout.random_reference() is None


async def test_what_comes_in_while_the_books_are_closed_waits_for_the_next_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await matched(store, 3)

    async def and_more(connection: AsyncConnection, after: int) -> AsyncIterator[RawPair]:
        await matched(store, 2)
        await store.rollout.set("test", "in between", sample=20)
        async for each in raw_pairs(connection, after):
            yield each

    monkeypatch.setattr(rules, "raw_pairs", and_more)
    assert await store.retention.close(tomorrow()) == 3
    monkeypatch.undo()
    assert await store.retention.close(tomorrow()) == 2
    assert (await store.rollout.verify()).faults == ()


async def test_who_lets_less_go_does_not_stop_who_lets_more_go(store: Store) -> None:
    await matched(store, 3)
    await store.retention.close(tomorrow())
    await store.retention.close(datetime.now(UTC) - timedelta(days=30))

    assert (await store.retention.let_go(tomorrow())).number == 2


async def test_who_closes_a_moment_later_may_let_more_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await matched(store, 3)
    earlier = datetime.now(UTC)
    (by_command,) = new_evaluation_ids(1)
    await store.submit([Submission(by_command, evaluation())])
    await store.settle([comparison(by_command)])

    async def overtaken(connection: AsyncConnection, after: int) -> AsyncIterator[RawPair]:
        monkeypatch.setattr(rules, "raw_pairs", raw_pairs)
        await store.retention.close(earlier)
        async for each in raw_pairs(connection, after):
            yield each

    monkeypatch.setattr(rules, "raw_pairs", overtaken)
    assert await store.retention.close(tomorrow()) == 0
    assert (await store.retention.let_go(tomorrow())).number == 3


async def test_what_does_not_verify_is_not_let_go(url: str, store: Store) -> None:
    await matched(store, 3)
    await mismatched(store, 1)
    forged = "UPDATE observations SET body = replace(body, 'Mgo=', 'MQo=') WHERE leg = 'celery'"
    await rows(url, forged)

    with pytest.raises(StoreError, match="do not hold"):
        await store.retention.close(tomorrow())
    assert (await store.retention.let_go(tomorrow())).number == 0


@pytest.mark.parametrize(
    "falsified",
    [
        "DELETE FROM evidence WHERE seq = 4",
        "DELETE FROM evaluations WHERE classification IS NULL",
        "UPDATE evidence SET mismatch = true WHERE seq = 1",
    ],
)
async def test_the_database_refuses_to_let_go_what_is_not_closed(
    url: str, store: Store, falsified: str
) -> None:
    await matched(store, 3)
    await store.retention.close(tomorrow())
    await matched(store, 1)
    await submitted(store)

    with pytest.raises(StoreError, match=r"only grow|stays in the ledger"):
        await rows_of_store(url, falsified)


async def rows_of_store(url: str, statement: str) -> None:
    database = Database(parse(url))
    try:
        async with database.write() as connection:
            await connection.execute(text(statement))
    finally:
        await database.close()


FORGERIES = {
    "another sum": "UPDATE retention SET body = replace(body, '[36,', '[35,')",
    "no closing": "UPDATE retention SET body = '{}'",
    "totals let go": "UPDATE let_go SET matched = matched - 1, submitted = submitted - 1",
    "a sweep's totals": "UPDATE sweep_tallies SET matched = matched + 1, submitted = submitted + 1",
    "planted faults": "UPDATE counters SET number = number + 1 WHERE name LIKE 'mutant:%'",
    "since the last fault": "UPDATE counters SET number = 0 WHERE name = 'unplanted'",
    "a cause more": "UPDATE counters SET number = number + 1 WHERE name LIKE 'cause:%'",
    "a cause less": "UPDATE counters SET number = number - 1 WHERE name LIKE 'cause:%'",
    "an epoch that went whole": "DELETE FROM let_go WHERE book = 'epoch-1'",
    "a sweep that went whole": "DELETE FROM let_go WHERE book LIKE 'sw-%'",
}


@pytest.mark.parametrize("forged", FORGERIES)
async def test_whoever_forges_what_is_left_of_the_old_is_found_out(
    url: str, store: Store, forged: str
) -> None:
    await history(store)
    await matched(store, 1)
    sweep_id, (swept,) = new_sweep_id(), new_evaluation_ids(1)
    await store.begin_sweep(sweep_id, {})
    await store.submit([Submission(swept, evaluation(), sweep_id)])
    await store.settle([comparison(swept)])
    await store.ownership.end_sweeps(None)
    await prune(store)
    (of_a_cause,) = await submitted(store)
    await store.settle([differing(of_a_cause).model_copy(update={"cause": "c0ffee"})])
    assert (await store.rollout.verify()).faults == ()

    await rows(url, FORGERIES[forged])

    assert (await store.rollout.verify()).faults


async def test_of_many_who_would_begin_one_does_and_the_next_only_when_it_is_time(
    url: str, store: Store
) -> None:
    other = await Store.open(url)
    asked = [each.retention.is_due(timedelta(days=1)) for each in (store, other) * 3]
    assert sorted(await asyncio.gather(*asked)) == [False] * 5 + [True]
    assert await other.retention.is_due(timedelta(0))
    await other.close()


async def test_two_who_prune_at_once_count_nothing_twice(url: str, store: Store) -> None:
    await matched(store, 30)
    await mismatched(store, 2)
    other = await Store.open(url)

    found = await asyncio.gather(prune(store), prune(other))
    await other.close()

    assert sum(found) == 31
    assert (await store.rollout.verify()).faults == ()
