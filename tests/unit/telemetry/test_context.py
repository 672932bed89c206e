"""Trace context as text, and which traces are recorded."""

import pytest
from opentelemetry.trace import get_current_span

from crucible.telemetry.spans import (
    Root,
    begin,
    context_of,
    here,
    inside,
    is_sampled,
    root,
    sampled_anew,
    span,
    text_of,
    trace_id_of,
)
from tests.support.spans import KeptSpans, kept_spans

TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


def test_a_place_in_a_trace_travels_as_text() -> None:
    place = context_of(TRACEPARENT)
    assert place is not None
    assert text_of(place) == TRACEPARENT
    assert trace_id_of(TRACEPARENT) == "a" * 32
    assert is_sampled(TRACEPARENT)


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert context_of(TRACEPARENT.replace("00-", "01-", 1) + "-more") == context_of(TRACEPARENT)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        b"00",
        "",
        "garbage",
        TRACEPARENT[:-1],
        TRACEPARENT.upper(),
        TRACEPARENT.replace("00-", "ff-", 1),
        TRACEPARENT + "-more",
        f"00-{'0' * 32}-{'b' * 16}-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
        {"traceparent": TRACEPARENT},
    ],
)
def test_what_is_no_place_in_a_trace_is_none(wrong: object) -> None:
    assert context_of(wrong) is None


def test_what_is_not_sampled_can_be_recorded_from_some_point_on() -> None:
    place = context_of(TRACEPARENT.removesuffix("1") + "0")
    assert place is not None
    assert not is_sampled(text_of(place))
    assert text_of(sampled_anew(place)) == TRACEPARENT


def test_children_follow_their_parent(kept: KeptSpans) -> None:
    whole = root("submit", Root.TRAFFIC, {"evaluation": "ev-1"})
    with inside(whole.get_span_context()), span("claim", {"leg": "legacy"}):
        begin("attempt", here()).end()
    whole.end()
    records = {each.name: each for each in kept.records}
    assert len({each.trace_id for each in records.values()}) == 1
    assert records["attempt"].parent_id == records["claim"].span_id
    assert records["claim"].parent_id == records["submit"].span_id
    assert records["claim"].leg == "legacy"
    assert records["submit"].parent_id is None


def test_a_trace_that_is_not_drawn_records_nothing_and_has_an_id_all_the_same() -> None:
    with kept_spans(ratio=1, sweep_ratio=0) as kept:
        drawn = root("submit", Root.TRAFFIC, {})
        other = root("submit", Root.SWEEP, {})
        for each in (drawn, other):
            with inside(each.get_span_context()), span("claim"):
                begin("attempt", here()).end()
            each.end()
    assert {each.trace_id for each in kept.records} == {f"{drawn.get_span_context().trace_id:032x}"}
    assert len(kept.records) == 3
    assert other.get_span_context().is_valid
    assert not is_sampled(text_of(other.get_span_context()))


def test_a_share_of_sweeps_is_drawn() -> None:
    with kept_spans(sweep_ratio=0.25) as kept:
        for _ in range(2000):
            root("submit", Root.SWEEP, {}).end()
    assert 350 < len(kept.ended) < 650


def test_a_span_that_belongs_to_nothing_is_not_recorded(kept: KeptSpans) -> None:
    with span("claim"):
        assert not get_current_span().is_recording()
    begin("claim", None).end()
    assert kept.ended == []


def test_what_is_raised_inside_a_span_is_its_status(kept: KeptSpans) -> None:
    whole = root("submit", Root.ALWAYS, {})
    with inside(whole.get_span_context()), pytest.raises(ValueError, match="no such"), span("claim"):
        raise ValueError("no such thing" * 100)
    status = kept.one("claim").status
    assert status is not None
    assert status.startswith("no such thing")
    assert len(status) == 300


def test_without_a_tracer_there_are_no_traces() -> None:
    whole = root("submit", Root.ALWAYS, {})
    assert not whole.get_span_context().is_valid
    with inside(context_of(TRACEPARENT)), span("claim"):
        assert here() == context_of(TRACEPARENT)
