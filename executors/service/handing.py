"""What an executor knows of a trace, given back to the one who asked: it reaches nobody else."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanContext, SpanKind
from starlette.requests import Request
from starlette.responses import Response

from crucible.telemetry.context import TRACEPARENT, context_of
from crucible.telemetry.handing import SPANS_HEADER, header_of
from crucible.telemetry.lost import dropped
from crucible.telemetry.recording import recorded
from crucible.telemetry.spans import inside, span

TRACES_KEPT = 1_000
SPANS_OF_A_TRACE = 64


class HandedOver(SpanProcessor):
    """Spans that have ended, by trace, until somebody asks who belongs to it.

    So whoever asks again after a broken connection gets those of the run that went on meanwhile.
    """

    def __init__(self) -> None:
        self._ended: OrderedDict[int, list[ReadableSpan]] = OrderedDict()

    def on_end(self, span: ReadableSpan) -> None:
        """See ``SpanProcessor.on_end``."""
        if span.context is None:
            return
        kept = self._ended.setdefault(span.context.trace_id, [])
        if len(kept) < SPANS_OF_A_TRACE:
            kept.append(span)
        else:
            dropped("too many of one trace", 1)
        if len(self._ended) > TRACES_KEPT:
            _, oldest = self._ended.popitem(last=False)
            dropped("nobody came", len(oldest))

    def give(self, place: SpanContext, response: Response) -> None:
        """Put what is here of the trace of ``place`` into a header of ``response``."""
        ended = self._ended.pop(place.trace_id, None)
        if ended:
            response.headers[SPANS_HEADER] = header_of([recorded(each) for each in ended])


@contextmanager
def served(request: Request) -> Iterator[SpanContext | None]:
    """The caller's place in a trace; inside, a span ``request`` is current and log lines name the trace."""
    place = context_of(request.headers.get(TRACEPARENT))
    if place is None:
        yield None
        return
    about = {"path": request.url.path.partition("/executions/")[0] or "/executions"}
    trace_id = f"{place.trace_id:032x}"
    bound = structlog.contextvars.bound_contextvars(trace_id=trace_id)
    with bound, inside(place), span("request", about, SpanKind.SERVER):
        yield place
