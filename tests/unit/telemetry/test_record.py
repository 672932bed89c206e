"""Spans as they are handed on: bounded, whatever anybody sends."""

import base64

import orjson
import pytest
from crucible.telemetry.handing import MOST_BYTES, handed_over, header_of

from crucible.telemetry.record import SpanRecord, decoded, encoded, with_legs
from crucible.telemetry.roots import Root
from crucible.telemetry.spans import begin, failed, link_to, root
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
    )
    again.add_event("tried again", {"reason": "503"})
    failed(again, "gave up")
    again.end()
    claim = kept.one("claim")
    assert decoded(encoded([claim.model_dump(mode="json")])) == [claim]
    assert claim.attributes == {"run": 2, "cpu_s": 0.5, "first": True}
    assert (claim.leg, claim.status) == ("celery", "gave up")
    assert [(each.name, each.attributes) for each in claim.events] == [("tried again", {"reason": "503"})]
    assert [(each.span_id, each.why) for each in claim.links] == [(f"{place.span_id:016x}", "claimed again")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": "x"},
        {"span_id": None},
        {"name": "n" * 301},
        {"started_us": -1},
        {"attributes": {str(number): number for number in range(33)}},
        {"attributes": {"code": "x" * 301}},
        {"attributes": {"code": ["a", "list"]}},
        {"events": [{"name": "e", "at_us": 1}] * 65},
        {"unknown": 1},
    ],
)
def test_what_is_no_span_or_beyond_its_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decoded(orjson.dumps([ONE | wrong]))


def test_executors_hand_over_in_a_header_what_they_know() -> None:
    header = header_of([ONE, ONE | {"span_id": "c" * 16}])
    assert header.isascii()
    assert "\n" not in header
    assert [each["span_id"] for each in handed_over(header)] == ["b" * 16, "c" * 16]


def test_a_header_is_bounded() -> None:
    many = [ONE | {"span_id": f"{number:016x}"} for number in range(1, 2000)]
    header = header_of(many)
    assert len(header) <= MOST_BYTES + 4
    assert handed_over(header)


@pytest.mark.parametrize(
    "wrong", ["", "%%%", "AAAA", base64.b64encode(b"[{}]").decode(), base64.b64encode(b"[" * 50_000).decode()]
)
def test_a_header_that_cannot_be_read_is_nothing(wrong: str) -> None:
    assert handed_over(wrong) == []


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
