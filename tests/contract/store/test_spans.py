"""Spans in every store, and the trace that begins when an evaluation enters it."""

import time

import pytest

from crucible.errors import StoreError
from crucible.ids import new_evaluation_id, new_evaluation_ids, new_sweep_id
from crucible.models import Classification
from crucible.store import Store, Submission
from crucible.telemetry.otlp import SpanEvent, SpanLink, SpanRecord
from crucible.telemetry.settings import TraceSettings
from crucible.telemetry.spans import context_of, inside, is_sampled, trace_id_of
from flows.duties.retention import SpanRetention
from tests.support.ledger import evaluation
from tests.support.spans import kept_spans

TRACE = "a" * 32
NOW_US = time.time_ns() // 1000


def span(number: int, trace_id: str = TRACE, **more: object) -> SpanRecord:
    """The span of that number, which begins as many µs after the first."""
    values: dict[str, object] = {
        "trace_id": trace_id,
        "span_id": f"{number + 1:016x}",
        "parent_id": None,
        "name": "claim",
        "service": "legacy-worker-1",
        "leg": "legacy",
        "started_us": NOW_US + number,
        "duration_us": 5,
    }
    return SpanRecord(**(values | more))


async def test_spans_come_back_whole_and_by_their_start(store: Store) -> None:
    rich = span(
        0,
        status="gave up \U0001f980",
        attributes={"run": 1, "cpu_s": 0.25, "first": True, "state": "claimed"},
        events=(SpanEvent(name="tried again", at_us=NOW_US, attributes={"attempt": 1}),),
        links=(SpanLink(trace_id=TRACE, span_id="b" * 16, why="claimed again"),),
    )
    await store.spans.add([span(2), rich, span(1, "c" * 32), span(1, parent_id=rich.span_id)])
    assert await store.spans.trace(TRACE) == [rich, span(1, parent_id=rich.span_id), span(2)]
    assert await store.spans.trace("d" * 32) == []


async def test_a_span_that_is_there_stays_as_it_is(store: Store) -> None:
    await store.spans.add([span(1)])
    await store.spans.add([span(1, name="other"), span(2)])
    assert await store.spans.trace(TRACE) == [span(1), span(2)]


async def test_what_was_sent_is_found_by_its_trace(store: Store) -> None:
    sent = span(1, name="enqueue", attributes={"run": 3}, leg="celery")
    await store.spans.add([sent, span(2), span(3, "c" * 32, name="enqueue")])
    assert await store.spans.sent([TRACE]) == [(3, "celery", TRACE, sent.span_id)]


async def test_the_oldest_are_forgotten_in_steps(store: Store) -> None:
    await store.spans.add([span(number) for number in range(30)])
    assert await store.spans.oldest_kept(30) == 0
    before = await store.spans.oldest_kept(10)
    assert before == NOW_US + 19
    assert [await store.spans.forget(before, 15) for _ in range(3)] == [15, 5, 0]
    assert await store.spans.trace(TRACE) == [span(number) for number in range(20, 30)]


async def test_spans_are_forgotten_by_age_and_by_number(store: Store) -> None:
    day_us = 86_400_000_000
    old = [span(number, started_us=NOW_US - 2 * day_us) for number in range(5)]
    await store.spans.add([*old, *(span(number) for number in range(10, 20))])
    await SpanRetention(store.spans, TraceSettings(keep_days=1)).round()
    assert len(await store.spans.trace(TRACE)) == 10
    await SpanRetention(store.spans, TraceSettings(keep_days=1, keep_spans=4)).round()
    assert await store.spans.trace(TRACE) == [span(number) for number in range(16, 20)]


async def test_an_evaluation_is_the_root_of_a_trace_from_the_moment_it_is_in_the_ledger(store: Store) -> None:
    ids = new_evaluation_ids(2)
    asker = context_of(f"00-{'e' * 32}-{'f' * 16}-01")
    with kept_spans() as kept, inside(asker):
        await store.submit([Submission(each, evaluation(), is_traffic=True) for each in ids])
    work = await store.work(ids)
    roots = {each.attributes["evaluation"]: each for each in kept.records}
    for each in work:
        place = context_of(each.traceparent)
        assert place is not None
        assert f"{place.span_id:016x}" == roots[each.id].span_id
        assert roots[each.id].trace_id == trace_id_of(each.traceparent)
        assert roots[each.id].parent_id is None
        assert [(link.trace_id, link.why) for link in roots[each.id].links] == [("e" * 32, "asked for here")]
    assert len({each.traceparent for each in work}) == 2
    row = await store.evaluation_state(ids[0])
    assert row is not None
    assert row.traceparent == work[0].traceparent


async def test_a_share_of_a_sweep_is_traced_and_all_of_it_has_trace_ids(store: Store) -> None:
    sweep_id, ids = new_sweep_id(), new_evaluation_ids(400)
    await store.begin_sweep(sweep_id, {})
    with kept_spans(ratio=1, sweep_ratio=0.25) as kept:
        await store.submit([Submission(each, evaluation(), sweep_id) for each in ids])
    traced = {each.attributes["evaluation"] for each in kept.records}
    assert 40 < len(traced) < 200
    work = await store.work(ids)
    assert {each.id for each in work if is_sampled(each.traceparent)} == traced
    assert all(each.traceparent for each in work)


async def test_what_is_settled_by_being_submitted_has_no_trace(store: Store) -> None:
    new_id = new_evaluation_id()
    with kept_spans() as kept:
        await store.submit([Submission(new_id, evaluation(), classification=Classification.NOT_SAMPLED)])
    assert kept.ended == []
    assert (await store.work([new_id]))[0].traceparent is None


async def test_a_submission_that_fails_says_so_in_its_span(store: Store) -> None:
    with kept_spans() as kept, pytest.raises(StoreError):
        await store.submit([Submission(new_evaluation_id(), evaluation(), new_sweep_id())])
    assert kept.one("submit").status


async def test_a_process_without_traces_submits_without_them(store: Store) -> None:
    new_id = new_evaluation_id()
    await store.submit([Submission(new_id, evaluation(), is_traffic=True)])
    assert (await store.work([new_id]))[0].traceparent is None


async def test_the_trace_of_an_evaluation_is_what_is_kept_of_it(store: Store) -> None:
    new_id = new_evaluation_id()
    with kept_spans() as kept:
        await store.submit([Submission(new_id, evaluation(), is_traffic=True)])
    trace_id = trace_id_of((await store.work([new_id]))[0].traceparent)
    assert trace_id == kept.one("submit").trace_id
    assert await store.spans.trace(trace_id) == []
    await store.spans.add(kept.records)
    assert await store.spans.trace(trace_id) == kept.records
