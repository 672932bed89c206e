"""What an executor spent the time of a request on, in the header ``Server-Timing`` of its answer (W3C).

Each entry has ``dur`` and ``start`` in milliseconds, the latter counted from the request: below 0 for what
began when somebody else had asked for the same run. The first is the whole request, and names the executor.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple
from urllib.parse import quote, unquote

from opentelemetry.trace import SpanKind

from crucible.telemetry.spans import begin, failed, here

TIMING_HEADER = "Server-Timing"

_MOST = 64
_ENTRY = re.compile(
    r'([a-z-]{1,40});dur=(\d{1,12}\.\d{3});start=(-?\d{1,12}\.\d{3});desc="([\w.~%-]{0,200})"', re.ASCII
)
_REQUEST = "request"


class Timing(NamedTuple):
    """How long something took. ``began_s`` is by ``time.monotonic``; as it is read, from the request."""

    name: str
    detail: str
    began_s: float
    duration_s: float


_kept: ContextVar[list[Timing] | None] = ContextVar("timings", default=None)


@contextmanager
def timings_kept() -> Iterator[list[Timing]]:
    """Keeps the timings of what is done inside, and in tasks that begin there."""
    timings: list[Timing] = []
    token = _kept.set(timings)
    try:
        yield timings
    finally:
        _kept.reset(token)


@contextmanager
def timed(name: str, detail: str = "") -> Iterator[None]:
    """Keep how long it takes inside."""
    began_s = time.monotonic()
    try:
        yield
    finally:
        keep_timing(name, began_s, detail)


def keep_timing(name: str, began_s: float, detail: str = "") -> None:
    """Keep how long something took that began then and ends now; of those of one run the first 64."""
    timings = _kept.get()
    if timings is not None and len(timings) < _MOST:
        timings.append(Timing(name, detail, began_s, time.monotonic() - began_s))


def timing_header(executor: str, began_s: float, timings: Iterable[Timing] = ()) -> str:
    """The header of an answer that is given now to a request that came at ``began_s``."""
    whole = Timing(_REQUEST, executor, began_s, time.monotonic() - began_s)
    return ", ".join(
        f"{each.name.replace(' ', '-')};dur={each.duration_s * 1000:.3f}"
        f';start={(each.began_s - began_s) * 1000:.3f};desc="{quote(each.detail, safe="")}"'
        for each in (whole, *timings)
    )


def timings_in(header: str) -> list[Timing]:
    """The request and what was done for it; nothing where that cannot be read."""
    entries = [_ENTRY.fullmatch(each.strip()) for each in header.split(",", _MOST + 1)]
    read = [_timing(*each.groups()) for each in entries if each is not None]
    return read if len(read) == len(entries) and read[0].name == _REQUEST else []


def _timing(name: str, dur: str, start: str, detail: str) -> Timing:
    return Timing(name.replace("-", " "), unquote(detail), float(start) / 1000, float(dur) / 1000)


def tell_request(header: str, began_ns: int, fault: str | None) -> None:
    """Make the span ``request`` and those below it, of a request that began then and is answered now.

    It lies in the middle of the time that it took as seen from here, whatever the executor's clock says.
    ``fault`` is why it was refused.
    """
    place = here()
    timings = timings_in(header) if place is not None and place.trace_flags.sampled else []
    if not timings:
        return
    whole, *parts = timings
    took_ns = _ns(whole.duration_s)
    arrived_ns = began_ns + max(0, time.time_ns() - began_ns - took_ns) // 2
    service = whole.detail or "executor"
    about = {"path": "/execute"}
    request = begin("request", place, about, start_ns=arrived_ns, service=service, kind=SpanKind.SERVER)
    for each in parts:
        begun_ns = arrived_ns + _ns(each.began_s)
        isolation = {"isolation": each.detail} if each.detail else {}
        part = begin(each.name, request.get_span_context(), isolation, start_ns=begun_ns, service=service)
        part.end(begun_ns + _ns(each.duration_s))
    if fault is not None:
        failed(request, fault)
    request.end(arrived_ns + took_ns)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
