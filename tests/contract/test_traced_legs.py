"""One suite over both legs: whoever has a run in hand tells of it in the trace that it came with."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from secrets import token_hex

import orjson
import pytest

from crucible.settings import LegacySettings
from crucible.telemetry.otlp import SpanRecord
from crucible.telemetry.spans import context_of
from tasks.dispatch import Dispatch
from tasks.legacy_leg.queue import decode, encode
from tests.support.collector import Collector, collecting
from tests.support.leg_fixtures import flow, harness, servers
from tests.support.legs import Flow, LegHarness, Worker, dispatch
from tests.support.stub_executor import TOKEN
from tests.support.valkey import free_port
from tests.support.waiting import eventually

__all__ = ["flow", "harness", "servers"]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Where workers send their spans, in the place of an API."""
    with collecting() as made:
        yield made


@pytest.fixture
def start_worker(harness: LegHarness, collector: Collector) -> Callable[..., Worker]:
    """Starts a worker that traces."""
    return partial(harness.start_worker, CRUCIBLE_TRACE_URL=collector.url)


def traced(run_id: str, *, sampled: bool = True) -> tuple[Dispatch, str]:
    """A run in a trace, and the trace's id."""
    trace_id = token_hex(16)
    place = f"00-{trace_id}-{token_hex(8)}-{'01' if sampled else '00'}"
    return replace(dispatch(run_id), traceparent=place, enqueued_ms=1_700_000_000_000), trace_id


def named(spans: list[SpanRecord], name: str) -> list[SpanRecord]:
    """Those of that name, by time."""
    return sorted((each for each in spans if each.name == name), key=lambda each: each.started_us)


async def test_a_worker_tells_of_each_step_in_the_trace_that_the_run_came_with(
    harness: LegHarness, flow: Flow, collector: Collector, start_worker: Callable[..., Worker]
) -> None:
    start_worker("worker-a")
    run, trace_id = traced("steps.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    names = ("queue wait", "claim", "execute", "attempt", "report")
    spans = await collector.seen(trace_id, *names)
    assert sorted(each.name for each in spans) == sorted(names)
    place = context_of(run.traceparent)
    assert place is not None
    below_the_leg = {each.parent_id for each in spans if each.name != "attempt"}
    assert below_the_leg == {f"{place.span_id:016x}"}
    assert named(spans, "attempt")[0].parent_id == named(spans, "execute")[0].span_id
    assert {each.service for each in spans} == {"worker-a"}
    assert {each.leg for each in spans if each.name != "attempt"} == {harness.leg}
    assert named(spans, "queue wait")[0].started_us == 1_700_000_000_000_000
    assert all(each.status is None for each in spans)


async def test_a_run_that_is_not_sampled_is_told_of_by_nobody(
    harness: LegHarness, flow: Flow, collector: Collector, start_worker: Callable[..., Worker]
) -> None:
    start_worker()
    silent, _ = traced("silent.0", sampled=False)
    plain = dispatch("plain.0")
    loud, trace_id = traced("loud.0")
    await flow.send([silent, plain, loud])
    await flow.read_until_all_reported([silent, plain, loud])
    await collector.seen(trace_id, "report")
    assert {each.trace_id for each in collector.records} == {trace_id}


async def test_each_attempt_and_each_retry_is_seen(
    harness: LegHarness, flow: Flow, collector: Collector, start_worker: Callable[..., Worker]
) -> None:
    harness.executor.status, harness.executor.refusals = 503, 2
    start_worker(CRUCIBLE_WORKER_RETRY_S="20")
    run, trace_id = traced("again.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    spans = await collector.seen(trace_id, "report")
    attempts = named(spans, "attempt")
    assert [each.status is None for each in attempts] == [False, False, True]
    assert all("503" in (each.status or "") for each in attempts[:2])
    (execute,) = named(spans, "execute")
    assert execute.status is None
    assert [each.name for each in execute.events] == ["tried again"] * 2
    assert {each.attributes["cause"] for each in execute.events} == {"503"}


async def test_a_claim_after_a_killed_worker_links_to_the_one_it_repeats(
    harness: LegHarness, flow: Flow, collector: Collector, start_worker: Callable[..., Worker]
) -> None:
    killed = start_worker("killed")
    run, trace_id = traced("reaped.0")
    harness.executor.hold()
    await flow.send([run])
    await eventually(lambda: len(harness.executor.order) > 0)
    await collector.seen(trace_id, "claim")
    killed.kill()
    harness.executor.let_go()
    start_worker("heir")
    await flow.read_until_all_reported([run], resend_every_s=0.5)
    spans = await collector.seen(trace_id, "claim", "claim", "report")
    # A copy that was sent meanwhile is dropped, and its claim tells of that.
    first, again = [each for each in named(spans, "claim") if each.attributes["state"] == "claimed"]
    assert (first.service, again.service) == ("killed", "heir")
    assert first.links == ()
    assert [(each.trace_id, each.span_id, each.why) for each in again.links] == [
        (trace_id, first.span_id, "claimed again")
    ]


async def test_a_fault_is_told_of_with_its_reason(
    harness: LegHarness, flow: Flow, collector: Collector, start_worker: Callable[..., Worker]
) -> None:
    harness.executor.status = 422
    start_worker()
    run, trace_id = traced("fault.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    spans = await collector.seen(trace_id, "report")
    for name in ("attempt", "execute", "report"):
        assert "told to refuse" in (named(spans, name)[0].status or ""), name


async def test_log_lines_name_trace_evaluation_leg_and_service(
    harness: LegHarness, flow: Flow, collector: Collector, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker("worker-a")
    run, trace_id = traced("ev-logged.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    worker.process.terminate()
    worker.process.wait(60)
    lines = [orjson.loads(each) for each in worker.rest_of_output().splitlines() if each.startswith("{")]
    (line,) = [each for each in lines if each.get("trace_id") == trace_id]
    assert line["event"] == "run reported"
    assert (line["evaluation"], line["leg"], line["service"]) == ("ev-logged", harness.leg, "worker-a")
    assert line["level"] == "info"


async def test_an_api_that_is_away_costs_a_worker_its_spans_and_a_line_in_the_log(
    harness: LegHarness, flow: Flow
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    worker = harness.start_worker(CRUCIBLE_TRACE_URL=away)
    runs = [traced(f"away-{number}.0")[0] for number in range(20)]
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    worker.process.terminate()
    worker.process.wait(60)
    said = worker.rest_of_output()
    lines = [orjson.loads(each) for each in said.splitlines() if each.startswith("{")]
    (told,) = [each for each in lines if each["event"] == "spans are not written"]
    assert told["collector"] == f"{away}/v1/traces"
    assert "refused" in told["reason"]
    assert "Traceback" not in said
    assert "opentelemetry" not in said


async def test_a_worker_shows_the_executors_token_where_it_sends_its_spans(
    harness: LegHarness, flow: Flow, collector: Collector, start_worker: Callable[..., Worker]
) -> None:
    start_worker()
    run, trace_id = traced("token.0")
    await flow.send([run])
    await collector.seen(trace_id, "report")
    assert {each["authorization"] for each in collector.headers} == {f"Bearer {TOKEN}"}


SETTINGS = LegacySettings(trace_field="meta.trace")


def test_the_payload_of_the_legacy_queue_carries_the_trace_in_a_field_of_ones_own_choice() -> None:
    run, trace_id = traced("field.0")
    document = orjson.loads(encode(run, SETTINGS))
    assert document["meta.trace"] == {"traceparent": run.traceparent, "enqueued_at": 1_700_000_000_000}
    received = decode(encode(run, SETTINGS), SETTINGS)
    assert received.trace is not None
    assert f"{received.trace.trace_id:032x}" == trace_id
    assert received.enqueued_ms == 1_700_000_000_000
    assert encode(run, SETTINGS) == encode(run, SETTINGS)


@pytest.mark.parametrize(
    "field",
    [
        None,
        7,
        "text",
        [],
        {},
        {"traceparent": 7, "enqueued_at": "yesterday"},
        {"traceparent": "garbage", "enqueued_at": -1},
        {"traceparent": None, "enqueued_at": True},
    ],
)
def test_a_payload_whose_trace_is_missing_or_cannot_be_read_is_run_all_the_same(field: object) -> None:
    document = orjson.loads(encode(dispatch("plain.0"), SETTINGS))
    assert "meta.trace" not in document
    received = decode(orjson.dumps(document | {"meta.trace": field}), SETTINGS)
    assert (received.run_id, received.trace, received.enqueued_ms) == ("plain.0", None, None)
