"""The trace in which an executor is asked."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry.trace import format_trace_id
from starlette.requests import Request

from crucible.telemetry.spans import TRACEPARENT, context_of, inside


@contextmanager
def in_trace(request: Request) -> Iterator[None]:
    """Inside, log lines name the caller's trace, if the request is in one."""
    place = context_of(request.headers.get(TRACEPARENT))
    if place is None:
        yield
        return
    trace_id = format_trace_id(place.trace_id)
    with structlog.contextvars.bound_contextvars(trace_id=trace_id), inside(place):
        yield
