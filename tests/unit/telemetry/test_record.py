"""Spans as they are kept: whole, and bounded, whatever anybody sends."""

from collections.abc import Callable

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from crucible.telemetry.otlp import SpanRecord, spans_in, with_legs
from crucible.telemetry.spans import Root, begin, failed, link_to, root
from tests.support.otlp import plain, request_of
from tests.support.spans import KeptSpans

ONE = {
    "trace_id": "a" * 32,
    "span_id": "b" * 16,
    "parent_id": None,
    "name": "claim",
    "service": "legacy-worker-1",
    "leg": "legacy",
    "started_us": 1_700_000_000_000_000,
    "duration_us": 1500,
}


def test_a_span_comes_through_whole(kept: KeptSpans) -> None:
    first = root("submit", Root.ALWAYS, {"evaluation": "ev-1"})
    place = first.get_span_context()
    again = begin(
        "claim",
        place,
        {"leg": "celery", "run": 2, "cpu_s": 0.5, "first": True},
        links=[link_to(place, "claimed again")],
        start_ns=1_700_000_000_000_000_000,
    )
    again.add_event("tried again", {"reason": "503"}, 1_700_000_000_000_002_000)
    failed(again, "gave up")
    again.end(1_700_000_000_001_500_000)
    claim = kept.one("claim")
    assert claim.attributes == {"run": 2, "cpu_s": 0.5, "first": True}
    assert (claim.leg, claim.status, claim.service) == ("celery", "gave up", "tests")
    assert (claim.started_us, claim.duration_us) == (1_700_000_000_000_000, 1500)
    (event,) = claim.events
    assert (event.name, event.at_us, event.attributes) == (
        "tried again",
        1_700_000_000_000_002,
        {"reason": "503"},
    )
    assert [(each.span_id, each.why) for each in claim.links] == [(f"{place.span_id:016x}", "claimed again")]
    assert (claim.trace_id, claim.parent_id) == (f"{place.trace_id:032x}", f"{place.span_id:016x}")


def test_what_another_service_did_is_told_under_its_name(kept: KeptSpans) -> None:
    place = root("submit", Root.ALWAYS, {}).get_span_context()
    begin("request", place, service="executor-3").end()
    assert kept.one("request").service == "executor-3"


def _long_name(span: Span) -> None:
    span.name = "n" * 301


def _no_ids(span: Span) -> None:
    span.trace_id = b""


def _short_id(span: Span) -> None:
    span.span_id = b"\x01"


def _many_attributes(span: Span) -> None:
    for number in range(33):
        span.attributes.add(key=str(number)).value.int_value = number


def _long_text(span: Span) -> None:
    span.attributes.add(key="code").value.string_value = "x" * 301


def _list(span: Span) -> None:
    span.attributes.add(key="code").value.array_value.values.add().int_value = 1


def _no_value(span: Span) -> None:
    span.attributes.add(key="code")


def _leg_that_is_no_text(span: Span) -> None:
    span.attributes.add(key="leg").value.int_value = 1


def _many_events(span: Span) -> None:
    for _ in range(65):
        span.events.add(name="e", time_unix_nano=1)


def _nul(span: Span) -> None:
    span.name = "a\0b"


@pytest.mark.parametrize(
    "spoil",
    [
        *(_long_name, _no_ids, _short_id, _many_attributes, _long_text),
        *(_list, _no_value, _leg_that_is_no_text, _many_events, _nul),
    ],
)
def test_what_is_beyond_its_bounds_is_rejected_and_the_rest_is_not(spoil: Callable[[Span], None]) -> None:
    wrong = plain(1)
    spoil(wrong)
    found, rejected = spans_in(request_of(wrong, plain(2)))
    assert [each.span_id for each in found] == ["02" * 8]
    assert rejected == 1


def test_a_span_that_ends_before_it_begins_took_no_time() -> None:
    span = plain()
    span.end_time_unix_nano = 1
    ((record,), _) = spans_in(request_of(span))
    assert record.duration_us == 0


@pytest.mark.parametrize(
    "body", [b"garbage", b'{"resourceSpans": []}', b"\x0a\xff", request_of(plain())[:-3]]
)
def test_what_is_no_request_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ValueError, match="no ExportTraceServiceRequest of OTLP"):
        spans_in(body)


def test_nothing_may_be_handed_in() -> None:
    assert spans_in(b"") == ([], 0)


def test_spans_take_the_leg_of_the_nearest_span_above() -> None:
    def made(span_id: str, parent_id: str | None, leg: str | None) -> SpanRecord:
        return SpanRecord(**(ONE | {"span_id": span_id * 16, "parent_id": parent_id, "leg": leg}))

    spans = [
        made("1", None, None),
        made("2", "1" * 16, "celery"),
        made("3", "2" * 16, None),
        made("4", "3" * 16, None),
        made("5", "6" * 16, None),
        made("6", "5" * 16, None),  # each other's parents: made up by somebody
    ]
    assert [each.leg for each in with_legs(spans)] == [None, "celery", "celery", "celery", None, None]
