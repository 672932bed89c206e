"""What executors tell of the time that a request took, and the spans that callers make of it."""

import asyncio
import time

import pytest

from crucible.telemetry.spans import Root, inside, root
from executors.timings import (
    Timing,
    keep_timing,
    tell_request,
    timed,
    timing_header,
    timings_in,
    timings_kept,
)
from tests.support.spans import KeptSpans, kept_spans

ENTRY = 'request;dur=20.000;start=0.000;desc="executor-1"'
RUN = 'sandbox-run;dur=12.000;start=5.000;desc="process"'


async def test_what_tasks_that_begin_inside_take_is_kept_and_nothing_else() -> None:
    async def work() -> None:
        with timed("sandbox run", "process"):
            await asyncio.sleep(0)

    keep_timing("slot wait", time.monotonic())
    with timings_kept() as timings:
        await asyncio.gather(asyncio.create_task(work()), asyncio.create_task(work()))
    await work()
    assert [(each.name, each.detail) for each in timings] == [("sandbox run", "process")] * 2


def test_what_fails_takes_time_too() -> None:
    with timings_kept() as timings, pytest.raises(ValueError, match="no"), timed("compile"):
        raise ValueError("no")
    assert [each.name for each in timings] == ["compile"]


def test_a_header_says_what_was_kept() -> None:
    name = 'executor; "1", of ä'
    began_s = time.monotonic() - 2
    waited = Timing("slot wait", "", began_s - 0.5, 0.25)
    ran = Timing("sandbox run", "process", began_s + 1, 0.75)
    header = timing_header(name, began_s, [waited, ran])
    assert header.isascii()
    whole, waiting, running = timings_in(header)
    assert (whole.name, whole.detail, whole.began_s) == ("request", name, 0.0)
    assert whole.duration_s >= 2
    assert waiting == Timing("slot wait", "", -0.5, 0.25)
    assert running == Timing("sandbox run", "process", 1.0, 0.75)


def test_so_many_are_kept_that_a_header_is_bounded() -> None:
    with timings_kept() as timings:
        for _ in range(2000):
            keep_timing("sandbox run", time.monotonic(), "process")
    header = timing_header("executor-1", time.monotonic(), timings)
    assert len(header) < 8192
    assert len(timings_in(header)) == 65


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "garbage",
        "db;dur=53",
        ENTRY + ",",
        ENTRY + ", garbage",
        RUN,
        f"{ENTRY}, " * 100,
        ENTRY + '"' * 50_000,
    ],
)
def test_a_header_that_cannot_be_read_is_nothing(wrong: str) -> None:
    assert timings_in(wrong) == []


def told(header: str, took_ms: float, fault: str | None = None) -> KeptSpans:
    """The spans of a request that took so long, as its caller saw it."""
    with kept_spans() as kept:
        place = root("attempt", Root.ALWAYS, {}).get_span_context()
        with inside(place):
            tell_request(header, time.time_ns() - int(took_ms * 1e6), fault)
    return kept


def test_a_caller_makes_the_executor_s_spans() -> None:
    kept = told(f"{ENTRY}, {RUN}", 100)
    request, run = kept.one("request"), kept.one("sandbox run")
    assert {request.service, run.service} == {"executor-1"}
    assert run.parent_id == request.span_id
    assert run.trace_id == request.trace_id
    assert (request.duration_us, run.duration_us) == (20_000, 12_000)
    assert run.started_us - request.started_us == pytest.approx(5_000, abs=1)
    assert (request.attributes, run.attributes) == ({"path": "/execute"}, {"isolation": "process"})
    assert request.status is None


def test_a_request_lies_within_the_time_that_its_caller_waited() -> None:
    before_us = time.time_ns() // 1000
    request = told(ENTRY, 100).one("request")
    after_us = time.time_ns() // 1000
    assert before_us - 100_000 + 39_000 < request.started_us < after_us - 20_000


def test_a_clock_that_runs_fast_puts_nothing_before_its_caller_asked() -> None:
    before_us = time.time_ns() // 1000
    request = told('request;dur=9000.000;start=0.000;desc="executor-1"', 0).one("request")
    assert request.started_us >= before_us


def test_a_refusal_is_the_request_s_fault() -> None:
    assert told(ENTRY, 100, "the queue is full").one("request").status == "the queue is full"


@pytest.mark.parametrize("header", ["", "db;dur=53"])
def test_of_an_answer_without_timings_there_are_no_spans(header: str) -> None:
    assert told(header, 100).ended == []


def test_outside_of_a_trace_there_are_no_spans() -> None:
    with kept_spans() as kept:
        tell_request(ENTRY, time.time_ns(), None)
    assert kept.ended == []
