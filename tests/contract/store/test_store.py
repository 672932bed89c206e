"""What every store does with the ledger."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from crucible.errors import StoreError
from crucible.ids import new_evaluation_id, new_evaluation_ids, new_sweep_id
from crucible.models import Classification, Counts, SweepReport, Verdict
from crucible.store import Settled, Store, Submission
from tests.support.ledger import comparison, evaluation, observation, sweep_of

MATCH, MISMATCH = Classification.MATCH, Classification.MISMATCH
NONDETERMINISTIC, UNPAIRED = Classification.NONDETERMINISTIC, Classification.UNPAIRED


async def test_evaluations_come_back_whole_and_in_the_order_asked_for(store: Store) -> None:
    awkward = evaluation(
        "naïve/ÿ 漢字",
        code="print('\0\r\n\u2028')",
        stdin="x" * 3_000_000,
        limits={"wall_s": 1.5},
        priority=9,
        tags=["a", "b"],
        expect={"outcome": ["ok", "signalled"], "stdout": "", "deterministic": False},
        source="by hand",
    )
    plain = evaluation()
    first, second = new_evaluation_ids(2)
    await store.submit([Submission(first, awkward), Submission(second, plain)])

    assert await store.load([second, first, second]) == [(second, plain), (first, awkward), (second, plain)]


async def test_more_ids_than_a_statement_can_name_are_loaded_and_settled(store: Store) -> None:
    sweep_id, ids = await sweep_of(store, [f"e{number}" for number in range(2500)])

    assert [evaluation_id for evaluation_id, _ in await store.load(ids)] == ids
    settled = await store.settle([comparison(evaluation_id) for evaluation_id in ids])
    assert len(settled.comparisons) == 2500
    assert await store.counts(sweep_id) == Counts(submitted=2500, matched=2500)


async def test_loading_an_id_nobody_submitted_names_it(store: Store) -> None:
    unknown = new_evaluation_id()

    with pytest.raises(StoreError, match=unknown):
        await store.load([unknown])


async def test_a_submission_that_fails_in_part_leaves_nothing_behind(store: Store) -> None:
    sweep_id, _ = await sweep_of(store, ["there"])

    with pytest.raises(StoreError):
        await store.submit(
            [
                Submission(new_evaluation_id(), evaluation(), sweep_id),
                Submission(new_evaluation_id(), evaluation(), new_sweep_id()),
            ]
        )

    assert (await store.counts(sweep_id)).submitted == 1


async def test_evaluations_of_a_sweep_that_was_never_begun_are_refused(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.submit([Submission(new_evaluation_id(), evaluation(), new_sweep_id())])


async def test_what_nobody_runs_is_settled_by_being_submitted(store: Store) -> None:
    sweep_id, _ = await sweep_of(store, [])
    evaluation_id = new_evaluation_id()
    await store.submit([Submission(evaluation_id, evaluation(), sweep_id, Classification.NOT_SAMPLED)])

    assert await store.counts(sweep_id) == Counts(submitted=1, not_sampled=1)
    assert await store.unsettled(sweep_id, 10) == []
    assert (await store.settle([comparison(evaluation_id)])).comparisons == ()
    found = await store.comparison(evaluation_id)
    assert found is not None
    assert (found.classification, found.legacy) == (Classification.NOT_SAMPLED, None)


async def test_a_ledger_row_tells_where_an_evaluation_stands(store: Store) -> None:
    sweep_id, [evaluation_id] = await sweep_of(store, ["prints/one"])

    waiting = await store.evaluation_state(evaluation_id)
    assert waiting is not None
    assert (waiting.name, waiting.sweep_id, waiting.language) == ("prints/one", sweep_id, "python")
    assert (waiting.settled_at, waiting.classification, waiting.comparison) == (None, None, None)
    assert abs(datetime.now(UTC) - waiting.submitted_at) < timedelta(hours=1)

    await store.settle([comparison(evaluation_id, MISMATCH)])
    settled = await store.evaluation_state(evaluation_id)
    assert settled is not None
    assert settled.settled_at is not None
    assert settled.settled_at >= settled.submitted_at == waiting.submitted_at
    assert (settled.classification, settled.comparison) == (MISMATCH, comparison(evaluation_id, MISMATCH))


async def test_an_unknown_evaluation_has_no_state_and_no_comparison(store: Store) -> None:
    assert await store.evaluation_state("ev-unknown") is None
    assert await store.comparison("ev-unknown") is None


@pytest.mark.parametrize("classification", [MATCH, MISMATCH, UNPAIRED, NONDETERMINISTIC])
async def test_a_comparison_comes_back_as_it_was_settled(
    store: Store, classification: Classification
) -> None:
    _, [evaluation_id] = await sweep_of(store, ["prints/one"])
    given = comparison(evaluation_id, classification)
    await store.settle([given])

    assert await store.comparison(evaluation_id) == given


async def test_output_comes_back_byte_for_byte(store: Store) -> None:
    _, [evaluation_id] = await sweep_of(store, ["prints/one"])
    stdout = bytes(range(256)) * 8192
    given = comparison(evaluation_id).model_copy(update={"legacy": observation("legacy", stdout)})
    await store.settle([given])

    found = await store.comparison(evaluation_id)
    assert found is not None
    assert found.legacy is not None
    assert found.legacy.stdout == stdout


async def test_the_first_settlement_stands(store: Store) -> None:
    sweep_id, [once, other] = await sweep_of(store, ["once", "other"])
    first = comparison(once, MATCH, "once")

    assert await store.settle([first, comparison(once, MISMATCH, "once")]) == Settled((first,), (), ())
    second = comparison(other, name="other")
    found = await store.settle([comparison(once, MISMATCH, "once"), second])
    assert found == Settled((second,), (first,), ())
    assert await store.comparison(once) == first
    assert [run.observation for run in await store.runs(once)] == [first.legacy, first.celery]
    assert await store.counts(sweep_id) == Counts(submitted=2, matched=2)


async def test_settling_what_was_never_submitted_settles_nothing(store: Store) -> None:
    sweep_id, [known] = await sweep_of(store, ["known"])
    unknown = new_evaluation_id()

    with pytest.raises(StoreError, match=unknown):
        await store.settle([comparison(known), comparison(unknown)])

    assert await store.unsettled(sweep_id, 10) == [known]


async def test_two_stores_that_settle_the_same_at_once_count_each_once(url: str, store: Store) -> None:
    sweep_id, ids = await sweep_of(store, [f"e{number}" for number in range(300)])
    second = await Store.open(url)
    try:
        batches = [ids[start : start + 60] for start in range(0, 300, 30)]
        settled = await asyncio.gather(
            *(who.settle([comparison(one) for one in batch]) for batch in batches for who in (store, second))
        )
    finally:
        await second.close()

    assert sum(len(each.comparisons) for each in settled) == 300
    assert sum(len(each.earlier) for each in settled) == 2 * sum(map(len, batches)) - 300
    assert await store.counts(sweep_id) == Counts(submitted=300, matched=300)


async def test_re_runs_are_kept_once_and_in_order(store: Store) -> None:
    _, [evaluation_id] = await sweep_of(store, ["flaky"])
    first = comparison(evaluation_id, MISMATCH)
    await store.settle([first])
    rerun = (observation("legacy", b"3\n"), observation("celery", b"4\n"))
    await store.add_run(evaluation_id, 2, observation("legacy", b"5\n"), None)
    await store.add_run(evaluation_id, 1, *rerun)
    await store.add_run(evaluation_id, 1, observation("legacy", b"later\n"), None)

    assert await store.runs(evaluation_id) == [
        (0, "legacy", first.legacy),
        (0, "celery", first.celery),
        (1, "legacy", rerun[0]),
        (1, "celery", rerun[1]),
        (2, "legacy", observation("legacy", b"5\n")),
    ]


async def test_a_mismatch_is_classified_again_by_more_runs_and_only_then(store: Store) -> None:
    sweep_id, [evaluation_id] = await sweep_of(store, ["prints/one"])
    await store.settle([comparison(evaluation_id, MISMATCH)])
    runs = {"reruns": 3, "flow_run_ids": ("flow-run-1", "flow-run-2")}
    confirmed = comparison(evaluation_id, MISMATCH).model_copy(update=runs)

    assert await store.reclassify(confirmed)
    assert not await store.reclassify(confirmed)
    assert not await store.reclassify(confirmed.model_copy(update={"classification": NONDETERMINISTIC}))
    assert await store.comparison(evaluation_id) == confirmed
    assert await store.counts(sweep_id) == Counts(submitted=1, mismatched=1)

    noise = confirmed.model_copy(update={"classification": NONDETERMINISTIC, "reruns": 8})
    assert await store.reclassify(noise)
    assert await store.comparison(evaluation_id) == noise
    assert await store.counts(sweep_id) == Counts(submitted=1, nondeterministic=1)


async def test_nothing_but_a_mismatch_is_classified_again(store: Store) -> None:
    sweep_id, [matched, waiting] = await sweep_of(store, ["matched", "waiting"])
    await store.settle([comparison(matched)])

    for evaluation_id in (matched, waiting):
        late = comparison(evaluation_id, NONDETERMINISTIC).model_copy(update={"reruns": 3})
        assert not await store.reclassify(late)
    assert await store.counts(sweep_id) == Counts(submitted=2, matched=1)


async def test_re_runs_cannot_make_a_match(store: Store) -> None:
    _, [evaluation_id] = await sweep_of(store, ["flaky"])
    await store.settle([comparison(evaluation_id, MISMATCH)])

    with pytest.raises(StoreError, match="match"):
        await store.reclassify(comparison(evaluation_id, MATCH))


async def test_pages_hold_the_wanted_comparisons_in_order_and_complete(store: Store) -> None:
    kinds = [MATCH, MISMATCH, UNPAIRED, MATCH, MISMATCH, NONDETERMINISTIC, MISMATCH]
    sweep_id, ids = await sweep_of(store, ["prints/one"] * len(kinds))
    given = [comparison(one, kind) for one, kind in zip(ids, kinds, strict=True)]
    given[3] = given[3].model_copy(update={"missed_expectations": ("exit_code is 0, expected 1",)})
    await store.settle(given)
    wanted = (MISMATCH, UNPAIRED)

    first = await store.page(sweep_id, wanted, None, 3)
    rest = await store.page(sweep_id, wanted, first[-1].evaluation_id, 3)
    assert first == [given[1], given[2], given[4]]
    assert rest == [given[6]]
    assert await store.page(sweep_id, (), None, 9, unexpected=True) == [given[3]]
    assert await store.page(sweep_id, wanted, None, 3, unexpected=True) == given[1:4]
    assert await store.page(sweep_id, (), None, 9) == []
    assert await store.page(new_sweep_id(), wanted, None, 9, unexpected=True) == []
    assert (await store.counts(sweep_id)).unexpected == 1


async def test_unsettled_ids_are_given_oldest_first_and_no_more_than_asked_for(store: Store) -> None:
    sweep_id, ids = await sweep_of(store, ["a", "b", "c", "d"])
    await store.settle([comparison(ids[1])])

    assert await store.unsettled(sweep_id, 2) == [ids[0], ids[2]]
    assert await store.unsettled(sweep_id, 9) == [ids[0], ids[2], ids[3]]


async def test_timings_hold_each_evaluation_that_both_legs_saw_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crucible.store.store._TIMINGS_PAGE", 2)
    kinds = [MATCH, UNPAIRED, MISMATCH, MATCH, MATCH, NONDETERMINISTIC]
    names = [f"{number}-{kind}" for number, kind in enumerate(kinds)]
    sweep_id, ids = await sweep_of(store, names)
    await store.settle([comparison(*pair) for pair in zip(ids, kinds, strict=True)])
    await store.add_run(ids[2], 1, observation("legacy", duration_s=9), observation("celery", duration_s=9))

    timings = [timing async for timing in store.timings(sweep_id)]

    assert sorted(timing.name for timing in timings) == [name for name in names if name != "1-unpaired"]
    assert {timing[1:] for timing in timings} == {("python", 0.25, 0.5)}


async def test_a_sweep_has_its_report_once_it_is_finished(store: Store) -> None:
    sweep_id, [evaluation_id] = await sweep_of(store, ["a"])
    report = SweepReport(
        sweep_id=sweep_id,
        verdict=Verdict.FAIL,
        reasons=("1 evaluation answered differently",),
        counts=await store.counts(sweep_id),
        mismatch_rate_upper=None,
        confidence=0.95,
        throughput_per_s=12.5,
        duration_s=1.5,
        started_at=datetime.now(UTC),
        corpora=("bundled",),
        flow_run_ids=("flow-run-1",),
        details=(comparison(evaluation_id, MISMATCH),),
    )

    assert await store.sweep(sweep_id) is None
    await store.finish_sweep(report)
    assert await store.sweep(sweep_id) == report


async def test_a_sweep_that_was_never_begun_cannot_be_finished(store: Store) -> None:
    sweep_id = new_sweep_id()
    report = SweepReport.model_construct(sweep_id=sweep_id, verdict=Verdict.PASS)

    with pytest.raises(StoreError, match=sweep_id):
        await store.finish_sweep(report)
    assert await store.sweep(sweep_id) is None


async def test_what_is_no_traffic_may_be_submitted_twice_and_is_there_once(store: Store) -> None:
    sweep_id, new_id = new_sweep_id(), new_evaluation_id()
    await store.begin_sweep(sweep_id, {})
    for _ in range(2):
        await store.submit([Submission(new_id, evaluation(), sweep_id)])
    assert (await store.counts(sweep_id)).submitted == 1
