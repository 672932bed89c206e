"""The trace of an evaluation as its flow host tells it: scripted legs, a real reply stream, a real store."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from crucible.ids import new_evaluation_id, new_sweep_id
from crucible.models import Comparison
from crucible.settings import FlowSettings
from crucible.store import Store, Submission, sqlite_url
from crucible.telemetry.otlp import SpanRecord
from crucible.telemetry.settings import TraceSettings
from tasks import run_traces
from tasks.background import BackgroundServices
from tasks.batch import Batch
from tasks.cancellation import Cancellations
from tasks.exchange import Exchange
from tasks.replies import ReplyReader
from tasks.run_traces import RunTraces
from tasks.settler import Settler
from tests.support.ledger import evaluation
from tests.support.scripted_leg import Script, ScriptedLeg
from tests.support.spans import KeptSpans, kept_spans
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]

PATIENT = FlowSettings(stall_s=600, resend_after_s=600, max_faults=1)
HASTY = FlowSettings(stall_s=600, resend_after_s=0.1, max_faults=1)


class Host:
    """What a flow host has, with scripted legs."""

    def __init__(self, store: Store, exchange: Exchange, stream: str, settings: TraceSettings) -> None:
        self.store, self.exchange, self.stream = store, exchange, stream
        self.traces = RunTraces(store.spans, settings)
        self.settler = Settler(store, self._settled, self._settled, lambda: False)

    async def run(self, evaluation_id: str, run: int = 0) -> Batch:
        """What the flow does."""
        work = await self.store.work([evaluation_id])
        trace = await self.traces.of_batch(work, run, "flow-run-1")
        on_pair: Callable[[Comparison], None] = self.settler.put if run == 0 else _ignored
        batch = Batch(work, run, "flow-run-1", self.exchange, self.stream, on_pair, trace=trace)
        with closing(batch):
            for leg in ("legacy", "celery"):
                await batch.ask(leg)
            await self.settler.flush()
        return batch

    def _settled(self, comparison: Comparison) -> None:
        self.traces.settled(comparison)


def _ignored(_comparison: Comparison) -> None:
    pass


@asynccontextmanager
async def host(
    store: Store, server: Valkey, script: Script, flow: FlowSettings = PATIENT, **settings: float
) -> AsyncIterator[Host]:
    """A flow host under way."""
    stream = f"replies-{uuid4().hex}"
    legs = tuple(ScriptedLeg(leg, server, stream, script) for leg in ("legacy", "celery"))
    exchange = Exchange(legs, ReplyReader(server.url, stream), Cancellations(server.url, {}), flow)
    opened = Host(store, exchange, stream, TraceSettings(**settings))
    background = BackgroundServices()
    exchange.open(background)
    opened.settler.open(background)
    try:
        yield opened
    finally:
        await opened.settler.close()
        await exchange.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store of one's own."""
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


async def submitted(store: Store, sweep_id: str | None = None) -> str:
    """An evaluation in the ledger."""
    new_id = new_evaluation_id()
    await store.submit([Submission(new_id, evaluation(), sweep_id, is_traffic=sweep_id is None)])
    return new_id


def answers(leg: ScriptedLeg, run_id: str, _times: int) -> None:
    """Answers at once."""
    leg.answer(run_id)


def named(kept: KeptSpans, name: str) -> list[SpanRecord]:
    """Those of that name, by time."""
    return sorted((each for each in kept.records if each.name == name), key=lambda each: each.started_us)


async def test_a_pair_is_told_of_from_its_submission_to_its_settlement(valkey: Valkey, store: Store) -> None:
    with kept_spans() as kept:
        new_id = await submitted(store)
        async with host(store, valkey, answers) as opened:
            await opened.run(new_id)
    submit, whole = kept.one("submit"), kept.one("evaluate")
    of_it = [each for each in kept.records if each.trace_id == submit.trace_id]
    below = {name: kept.one(name) for name in ("legacy leg", "celery leg", "compare", "settle")}
    assert whole.parent_id == submit.span_id
    assert whole.attributes["classification"] == "match"
    assert {each.parent_id for each in below.values()} == {whole.span_id}
    for leg in ("legacy", "celery"):
        about = below[f"{leg} leg"]
        assert about.attributes["outcome"] == "ok"
        parts = [each.name for each in of_it if each.parent_id == about.span_id]
        assert sorted(parts) == ["enqueue", "reply"]
    assert len(of_it) == 10
    assert all(each.status is None for each in of_it)


async def test_a_flow_run_has_a_trace_of_its_own_that_evaluations_link_to(
    valkey: Valkey, store: Store
) -> None:
    with kept_spans() as kept:
        new_id = await submitted(store)
        async with host(store, valkey, answers) as opened:
            await opened.run(new_id)
    flow, whole = kept.one("flow run"), kept.one("evaluate")
    assert flow.trace_id != whole.trace_id
    assert flow.parent_id is None
    assert flow.attributes == {"flow_run": "flow-run-1", "run": 0, "evaluations": 1}
    assert [(each.trace_id, each.span_id, each.why) for each in whole.links] == [
        (flow.trace_id, flow.span_id, "in flow run")
    ]


async def test_what_is_sent_again_links_to_the_sending_that_it_repeats(valkey: Valkey, store: Store) -> None:
    def at_the_third(leg: ScriptedLeg, run_id: str, times: int) -> None:
        if times == 3:
            leg.answer(run_id)

    with kept_spans() as kept:
        new_id = await submitted(store)
        async with host(store, valkey, at_the_third, HASTY) as opened:
            await opened.run(new_id)
    for leg in ("legacy", "celery"):
        sent = [each for each in named(kept, "enqueue") if each.leg == leg]
        assert len(sent) == 3
        assert sent[0].links == ()
        for before, after in pairwise(sent):
            assert [(each.span_id, each.why) for each in after.links] == [(before.span_id, "sent again")]


async def test_who_takes_an_evaluation_over_goes_on_in_its_trace_and_links_to_what_it_repeats(
    valkey: Valkey, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_traces, "_FRESH", timedelta(0))  # as if time had passed

    def silent(_leg: ScriptedLeg, _run_id: str, _times: int) -> None:
        pass

    with kept_spans() as kept:
        new_id = await submitted(store)
        async with host(store, valkey, silent) as dead:
            work = await store.work([new_id])
            trace = await dead.traces.of_batch(work, 0, "flow-run-0")
            batch = Batch(work, 0, "flow-run-0", dead.exchange, dead.stream, _ignored, trace=trace)
            batch_sent = [batch._dispatch(work[0], leg, 0) for leg in ("legacy", "celery")]
            for each, state in zip(batch_sent, dead.exchange._legs.values(), strict=True):
                await dead.exchange._send(state, [each])
    await store.spans.add(kept.records)
    before = {each.leg: each.span_id for each in named(kept, "enqueue")}
    with kept_spans() as again:
        async with host(store, valkey, answers) as heir:
            await heir.run(new_id)
    sent = {each.leg: each for each in named(again, "enqueue")}
    assert {each.trace_id for each in sent.values()} == {kept.one("submit").trace_id}
    assert again.one("evaluate").parent_id == kept.one("submit").span_id
    for leg, each in sent.items():
        assert [(link.span_id, link.why) for link in each.links] == [(before[leg], "taken over")]


async def test_re_runs_of_what_was_not_drawn_are_traced_all_the_same(valkey: Valkey, store: Store) -> None:
    sweep_id = new_sweep_id()
    await store.begin_sweep(sweep_id, {})
    with kept_spans(sweep_ratio=0.0) as kept:
        new_id = await submitted(store, sweep_id)
        async with host(store, valkey, answers, sweep_ratio=0.05) as opened:
            await opened.run(new_id)
            assert kept.ended == []
            await opened.run(new_id, run=1)
    whole = kept.one("evaluate")
    assert whole.attributes["run"] == 1
    assert whole.trace_id == ((await store.work([new_id]))[0].traceparent or "")[3:35]


async def test_with_a_ratio_of_nothing_re_runs_are_not_traced_either(valkey: Valkey, store: Store) -> None:
    with kept_spans(ratio=0) as kept:
        new_id = await submitted(store)
        async with host(store, valkey, answers, ratio=0, sweep_ratio=0) as opened:
            await opened.run(new_id)
            await opened.run(new_id, run=1)
    assert kept.ended == []


async def test_what_is_not_seen_through_says_so(valkey: Valkey, store: Store) -> None:
    with kept_spans() as kept:
        new_id = await submitted(store)
        async with host(store, valkey, answers) as opened:
            work = await store.work([new_id])
            trace = await opened.traces.of_batch(work, 0, "flow-run-0")
            Batch(work, 0, "flow-run-0", opened.exchange, opened.stream, _ignored, trace=trace).close()
    assert kept.one("evaluate").status == "not seen through"


async def test_a_fault_is_the_status_of_its_leg(valkey: Valkey, store: Store) -> None:
    def faulty(leg: ScriptedLeg, run_id: str, _times: int) -> None:
        if leg.leg == "celery":
            leg.fault(run_id)
        else:
            leg.answer(run_id)

    with kept_spans() as kept:
        new_id = await submitted(store)
        async with host(store, valkey, faulty) as opened:
            await opened.run(new_id)
    assert "executor-3 is away" in (kept.one("celery leg").status or "")
    assert kept.one("legacy leg").status is None
    assert kept.one("evaluate").attributes["classification"] == "unpaired"
