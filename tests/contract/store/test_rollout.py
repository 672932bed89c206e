"""The migration's books on every kind of store: nothing is counted wrongly, no way back comes late."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from crucible.compare import MutantKind
from crucible.errors import GateRefused, InputError, RolloutConflict
from crucible.ids import new_evaluation_id
from crucible.models import Classification, Limits
from crucible.rollout.assessment import ALL, Columns
from crucible.rollout.epoch import EpochKey
from crucible.rollout.stage import RouteRule, Stage
from crucible.settings import GateSettings
from crucible.store import NOISE_RUN, Store, Submission
from crucible.store.database import parse
from tasks.batch import cancelled
from tests.support.ledger import comparison, evaluation, observation
from tests.support.traffic import (
    answers,
    at_stage,
    by_celery_alone,
    differing,
    matched,
    mismatched,
    submitted,
)

KINDS = [Classification.MATCH, Classification.UNPAIRED, Classification.CANCELLED]


def key(**changes: Any) -> EpochKey:
    """An epoch in which a fault is planted beside every pair."""
    policy = GateSettings(mutant_share=1, **changes)
    return EpochKey(legacy_build="one", celery_build="three", policy=policy)


async def test_a_fresh_store_shadows_and_legacy_answers(store: Store) -> None:
    (evaluation_id,) = await submitted(store)

    settled = await store.settle([comparison(evaluation_id)])

    assert answers(settled) == ["legacy"]
    row = await store.evaluation_state(evaluation_id)
    assert row is not None
    assert row.route is not None
    assert (row.route.stage, row.route.legs) == (Stage.SHADOW, ("legacy", "celery"))
    assert row.comparison is not None
    assert row.comparison.answered_by == "legacy"


async def test_what_is_no_traffic_is_not_routed_and_no_evidence(store: Store) -> None:
    new_id = new_evaluation_id()
    await store.submit([Submission(new_id, evaluation())])

    settled = await store.settle([comparison(new_id)])

    assert answers(settled) == [None]
    assert (await store.rollout.look()).inputs.strata == {}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ends=st.lists(st.sampled_from([*KINDS, Classification.MISMATCH, None]), max_size=12))
async def test_the_columns_of_every_stratum_add_up_after_any_history(
    store: Store, ends: list[Classification | None]
) -> None:
    before = (await store.rollout.look()).inputs.strata.get(ALL, Columns())
    ids = await submitted(store, len(ends))
    due = [comparison(each, end) for each, end in zip(ids, ends, strict=True) if end is not None]
    await store.settle(due)
    await store.settle(due)

    after = (await store.rollout.look()).inputs.strata.get(ALL, Columns())
    assert after.submitted == before.submitted + len(ends)
    assert after.waiting == before.waiting + ends.count(None)
    assert after.unpaired == before.unpaired + ends.count(Classification.UNPAIRED)
    assert after.mismatched == before.mismatched + ends.count(Classification.MISMATCH)
    assert (await store.rollout.verify()).ok


@pytest.mark.parametrize(
    "falsified",
    [
        "UPDATE tallies SET matched = matched + 1",
        "UPDATE tallies SET matched = matched + 9, waiting = waiting - 9",
        "UPDATE evidence SET mismatch = NOT mismatch",
        "DELETE FROM evidence",
        "UPDATE audit SET body = '{}'",
        "DELETE FROM audit",
        "DELETE FROM evaluations",
        "UPDATE evaluations SET classification = 'match' WHERE classification = 'mismatch'",
        "UPDATE evaluations SET classification = NULL",
    ],
)
async def test_the_database_itself_refuses_to_falsify_the_books(
    url: str, store: Store, falsified: str
) -> None:
    await matched(store, 3)
    await mismatched(store)
    await at_stage(store, Stage.CANARY)
    engine = create_async_engine(parse(url))

    with pytest.raises(DBAPIError):
        async with engine.begin() as connection:
            await connection.execute(text(falsified))

    await engine.dispose()


async def test_four_mismatches_turn_the_migration_back_and_celery_answers_no_more(store: Store) -> None:
    await at_stage(store, Stage.CANARY)
    under_way = await submitted(store, 2)
    assert answers(await store.settle([comparison(under_way[0])])) == ["celery"]

    await mismatched(store, 3)
    assert (await store.rollout.state()).stage is Stage.CANARY
    await mismatched(store, 1)

    after = await store.rollout.state()
    assert (after.stage, after.is_spent) == (Stage.LEGACY, True)
    assert answers(await store.settle([comparison(under_way[1])])) == ["legacy"]
    (last,) = await store.rollout.history(1)
    assert (last.actor, last.action) == ("crucible", "rollback")
    assert (await store.rollout.verify()).ok


async def test_many_processes_settle_in_one_order_and_turn_back_once(url: str, store: Store) -> None:
    await at_stage(store, Stage.CANARY)
    second = await Store.open(url)
    try:
        work = [matched(who, 20) for who in (store, second) for _ in range(3)]
        work += [mismatched(who, 3) for who in (store, second) for _ in range(2)]
        await asyncio.gather(*work)
    finally:
        await second.close()

    actions = [entry.action for entry in await store.rollout.history()]
    assert actions.count("rollback") == 1
    found = await store.rollout.verify()
    assert (found.pairs, found.faults) == (132, ())


async def test_a_mismatch_that_is_run_again_once_more_is_no_second_pair(store: Store) -> None:
    (evaluation_id,) = await mismatched(store)
    more = differing(evaluation_id).model_copy(update={"reruns": 5})

    assert await store.reclassify(more)

    assert (await store.rollout.verify()).pairs == 1


async def test_mismatches_are_counted_by_cause_until_they_turn_out_to_be_none(store: Store) -> None:
    ids = await submitted(store, 3)
    causes = ("c0ffee", "c0ffee", "decade")
    due = [
        comparison(each, Classification.MISMATCH).model_copy(update={"cause": cause})
        for each, cause in zip(ids, causes, strict=True)
    ]
    await store.settle(due)
    assert (await store.rollout.look()).inputs.causes == {"c0ffee": 2, "decade": 1}

    noise = {"classification": Classification.NONDETERMINISTIC, "reruns": 3}
    await store.reclassify(due[0].model_copy(update=noise))
    assert (await store.rollout.look()).inputs.causes == {"c0ffee": 1, "decade": 1}


async def test_one_confirmed_critical_mismatch_is_enough(store: Store) -> None:
    await at_stage(store, Stage.CANARY)
    await mismatched(store, 1, critical=True)

    assert (await store.rollout.state()).stage is Stage.LEGACY
    assert (await store.rollout.verify()).ok


async def test_where_both_ran_and_disagree_legacy_answers(store: Store) -> None:
    await at_stage(store, Stage.CANARY)
    (evaluation_id,) = await submitted(store)

    assert answers(await store.settle([differing(evaluation_id)])) == ["legacy"]


async def test_what_celery_alone_ran_is_orphaned_by_a_rollback_until_legacy_has_run_it(store: Store) -> None:
    await at_stage(store, Stage.LIVE, sample=0)
    before, during = await submitted(store, 2)
    assert answers(await store.settle([by_celery_alone(before)])) == ["celery"]

    await store.rollout.rollback("test", "")
    settled = await store.settle([by_celery_alone(during)])

    assert [each.evaluation_id for each in settled.orphaned] == [during]
    state = await store.evaluation_state(during)
    assert state is not None
    assert state.classification is None
    assert answers(await store.settle([comparison(during)])) == ["legacy"]


async def test_what_celery_alone_ran_is_not_run_again_by_legacy_when_it_was_cancelled(store: Store) -> None:
    await at_stage(store, Stage.LIVE, sample=0)
    (evaluation_id,) = await submitted(store)
    ((_, program),) = await store.load([evaluation_id])

    settled = await store.settle([cancelled(evaluation_id, program)])

    assert settled.orphaned == ()
    assert [each.classification for each in settled.comparisons] == [Classification.CANCELLED]
    assert answers(settled) == [None]


async def test_without_evidence_nothing_goes_past_shadow(store: Store) -> None:
    before = await store.rollout.state()

    with pytest.raises(GateRefused, match="parity"):
        await store.rollout.advance("test", "")
    with pytest.raises(GateRefused, match="parity"):
        await store.rollout.set("test", "", stage=Stage.LIVE)

    assert await store.rollout.state() == before


async def test_parity_is_a_go_after_325_clean_pairs_and_not_before(store: Store) -> None:
    await matched(store, 324)
    assert (await store.rollout.look()).assessment.gate("parity").state == "waiting"

    await matched(store, 1)
    assert (await store.rollout.look()).assessment.gate("parity").state == "go"


async def test_dropping_a_rule_takes_a_go_that_counts_its_language_in(store: Store) -> None:
    await store.rollout.open_epoch(key(min_noise_reruns=1, min_pairs_per_step=1), "test")
    kept = RouteRule(share=0, languages=("bash",))
    await at_stage(store, Stage.CANARY, rules=(kept,))
    await matched(store, 400)
    again, *_ = await matched(store, 20, language="bash")
    seen = observation("legacy")
    await store.rollout.count_noise(again, seen, 1, only_celery=False, only_legacy=False)
    assert (await store.rollout.look()).assessment.gate("parity").state == "go"

    with pytest.raises(GateRefused, match="language:bash"):
        await store.rollout.set("test", "", rules=())
    await store.rollout.set("test", "", rules=(RouteRule(share=0, languages=("perl",)), kept))
    assert (await store.rollout.verify()).ok


async def test_what_a_rule_keeps_on_legacy_turns_nothing_back(store: Store) -> None:
    await at_stage(store, Stage.CANARY, rules=(RouteRule(share=0, languages=("python",)),))

    await mismatched(store, 6)
    await mismatched(store, 1, critical=True)

    assert (await store.rollout.state()).stage is Stage.CANARY
    assert (await store.rollout.verify()).ok


async def test_several_changes_at_one_position_of_the_evidence_are_all_verified(store: Store) -> None:
    await matched(store, 5)
    await store.rollout.set("test", "", sample=20)
    await store.rollout.rollback("test", "")
    await store.rollout.set("test", "", new_epoch=True)
    await store.rollout.advance("test", "")
    await store.rollout.set("test", "", sample=30)

    assert (await store.rollout.verify()).faults == ()


async def test_what_changes_nothing_is_not_logged_and_what_moves_nothing_keeps_the_step_s_pairs(
    store: Store,
) -> None:
    with pytest.raises(InputError, match="nothing to set"):
        await store.rollout.set("test", "")
    await store.rollout.set("test", "", held=False)
    assert await store.rollout.history() == [], "it was so already"
    await matched(store, 7)
    await store.rollout.set("test", "", held=True)

    assert (await store.rollout.look()).assessment.gate("step").numbers["new_pairs"] == 7


async def test_mismatches_of_traffic_are_had_by_epoch_page_by_page(store: Store) -> None:
    ids = await mismatched(store, 3)
    await matched(store, 2)

    first = await store.rollout.mismatches(0, "", 2)
    rest = await store.rollout.mismatches(0, first[-1].evaluation_id, 2)

    assert [each.evaluation_id for each in (*first, *rest)] == ids
    assert await store.rollout.mismatches(1, "", 2) == []


async def test_of_two_who_change_what_they_saw_one_is_refused(store: Store) -> None:
    version = (await store.rollout.state()).version
    wishes = [store.rollout.set(name, "", version, held=True) for name in ("one", "other")]

    found = await asyncio.gather(*wishes, return_exceptions=True)

    assert sorted(isinstance(each, RolloutConflict) for each in found) == [False, True]
    assert len(await store.rollout.history()) == 1


async def test_a_new_build_begins_an_epoch_without_evidence_in_which_celery_answers_nothing(
    store: Store,
) -> None:
    await store.rollout.open_epoch(key(), "test")
    await matched(store, 10)
    await at_stage(store, Stage.CANARY)
    (under_way,) = await submitted(store)

    change = await store.rollout.open_epoch(key().model_copy(update={"celery_build": "four"}), "test")

    assert change is not None
    assert change.after.stage is Stage.SHADOW
    assert (await store.rollout.look()).inputs.strata == {}
    assert answers(await store.settle([comparison(under_way)])) == ["legacy"]
    assert (await store.rollout.look()).inputs.strata == {}, "it belongs to the epoch it was submitted in"
    assert (await store.rollout.verify()).ok


async def test_the_same_key_opens_no_epoch(store: Store) -> None:
    await store.rollout.open_epoch(key(), "test")

    assert await store.rollout.open_epoch(key(), "test") is None
    assert await store.rollout.open_epoch(key(p0=0.02), "test") is not None
    limits = key(p0=0.02).model_copy(update={"limits": Limits(memory_mb=512)})
    assert await store.rollout.open_epoch(limits, "test") is not None


async def test_after_a_rollback_only_a_new_epoch_goes_forward(store: Store) -> None:
    await at_stage(store, Stage.CANARY)
    await store.rollout.rollback("test", "")

    with pytest.raises(GateRefused, match="Epoch 0 ended in a rollback"):
        await store.rollout.advance("test", "")
    again = await store.rollout.rollback("test", "")
    assert again.after == again.before, "it is there already"
    with pytest.raises(InputError, match="not behind it"):
        await store.rollout.rollback("test", "", Stage.LIVE)

    await store.rollout.set("test", "", new_epoch=True)
    assert (await store.rollout.advance("test", "")).after.stage is Stage.SHADOW


async def test_every_kind_of_fault_is_planted_and_caught_a_duplicate_by_the_store(store: Store) -> None:
    await store.rollout.open_epoch(key(), "test")
    await matched(store, 200)

    mutants = (await store.rollout.look()).inputs.mutants

    assert MutantKind.DUPLICATE in mutants
    assert len(mutants) >= 5
    assert all(each.caught == each.planted for each in mutants.values())
    assert sum(each.planted for each in mutants.values()) == 200


async def test_sentinels_keep_watch_when_legacy_is_off(store: Store) -> None:
    (recorded,) = await matched(store, 1)
    await at_stage(store, Stage.CELERY)
    assert await store.rollout.random_reference() == recorded
    sentinel = new_evaluation_id()
    await store.submit([Submission(sentinel, evaluation(), is_traffic=True, reference=recorded)])
    (work,) = await store.work([sentinel])
    assert work.route is not None
    assert (work.route.legs, work.recorded is None) == (("celery",), False)

    wrong = differing(sentinel, critical=True)
    assert answers(await store.settle([wrong])) == [None]
    await store.reclassify(wrong.model_copy(update={"reruns": 3}))

    assert (await store.rollout.state()).stage is Stage.LEGACY
    assert await store.rollout.random_reference() is None
    assert (await store.rollout.verify()).ok


FORGERIES = {
    "an observation": "UPDATE observations SET body = replace(body, 'Mgo=', 'MQo=') WHERE leg = 'celery'",
    "a verdict": "UPDATE evidence SET mismatch = NOT mismatch WHERE seq = 1",
    # Where one happens to be planted in that pair, it is taken out.
    "a fault": "UPDATE evidence SET mutant = CASE WHEN mutant IS NULL THEN 'exit_code_up' END,"
    " caught = CASE WHEN mutant IS NULL THEN NOT mismatch END WHERE seq = 2",
    "a tally": "UPDATE tallies SET matched = matched + 1, submitted = submitted + 1",
    "a reason": "UPDATE audit SET body = replace(body, 'so the test', 'so the gate') WHERE seq = 1",
    "an entry": "DELETE FROM audit WHERE seq = 1",
    "a pair": "DELETE FROM evidence WHERE seq = 1",
    "the stage": "UPDATE rollout SET body = replace(body, '\"legacy\"', '\"live\"')",
}


@pytest.mark.parametrize("forged", FORGERIES)
async def test_whoever_gets_past_the_database_is_found_out(url: str, store: Store, forged: str) -> None:
    await at_stage(store, Stage.CANARY)
    await matched(store, 3)
    await mismatched(store, 4)
    assert (await store.rollout.verify()).ok
    engine = create_async_engine(parse(url))
    async with engine.begin() as connection:
        for table, triggers in _TRIGGERS.items():
            for trigger in triggers:
                on = f" ON {table}" if "postgres" in url else ""
                names = [trigger] if "postgres" in url else [f"{trigger}_update", f"{trigger}_delete"]
                for name in names:
                    await connection.execute(text(f"DROP TRIGGER {name}{on}"))
        done = await connection.execute(text(FORGERIES[forged]))
        assert done.rowcount > 0
    await engine.dispose()

    assert (await store.rollout.verify()).faults


_TRIGGERS = {"audit": ["audit_is_append_only"], "evidence": ["evidence_is_append_only"]}


async def test_a_mismatch_of_traffic_is_unconfirmed_until_it_was_run_again(store: Store) -> None:
    (waits,) = await submitted(store)
    await store.settle([differing(waits)])
    await mismatched(store)
    await matched(store, 1)
    assert await store.rollout.unconfirmed(10) == [waits]


async def test_a_noise_run_is_counted_once_however_often_it_is_reported(store: Store) -> None:
    first, second = await matched(store, 2)
    epoch = (await store.rollout.state()).epoch
    for evaluation_id in (first, first, second):
        again = observation("legacy", b"2\n")
        await store.rollout.count_noise(evaluation_id, again, epoch, only_celery=False, only_legacy=True)
    noise = (await store.rollout.look()).inputs.noise
    assert (noise.reruns, noise.only_celery, noise.only_legacy) == (2, 0, 2)
    assert [(each.run, each.leg) for each in await store.runs(first)][-1] == (NOISE_RUN, "legacy")
