"""Making spans. Where nothing is recorded, each of these does next to nothing.

W3C trace context travels as text in the ledger, in payloads and in headers. A trace that is not sampled
travels too, so that log lines of one evaluation can be found together; its flags say that nobody records
spans of it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache

from opentelemetry.context import Context, attach, detach, get_value, set_value
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    format_trace_id,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_KEY = "crucible-root"


class Root(StrEnum):
    """What a trace is of; whether it is recorded depends on that."""

    TRAFFIC = "traffic"
    SWEEP = "sweep"
    ALWAYS = "always"
    """Of something that is recorded because something else in it is."""


def root_context(of: Root) -> Context:
    """The context in which to begin a trace of that kind."""
    return set_value(_KEY, of, Context())


def root_in(context: Context | None) -> Root | None:
    """What a trace that begins in ``context`` is of; null where none is meant to begin."""
    found = get_value(_KEY, context)
    return found if isinstance(found, Root) else None


TRACEPARENT = "traceparent"
"""The name under which it travels wherever there are names."""


def text_of(context: SpanContext) -> str:
    """``context``, which must be valid, as text."""
    carrier: dict[str, str] = {}
    _propagator().inject(carrier, set_span_in_context(NonRecordingSpan(context), Context()))
    return carrier[TRACEPARENT]


def context_of(traceparent: object) -> SpanContext | None:
    """What ``traceparent`` says; null for anything that is none, since anybody may write to a queue."""
    if not isinstance(traceparent, str):
        return None
    found = get_current_span(_propagator().extract({TRACEPARENT: traceparent}, Context()))
    context = found.get_span_context()
    return context if context.is_valid else None


def is_sampled(traceparent: str | None) -> bool:
    """Whether spans of that trace are recorded."""
    context = context_of(traceparent)
    return context is not None and context.trace_flags.sampled


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace's id, in hexadecimal."""
    context = context_of(traceparent)
    return None if context is None else format_trace_id(context.trace_id)


def sampled_anew(context: SpanContext) -> SpanContext:
    """The same place in the same trace, whose spans are recorded from here on."""
    flags = TraceFlags(context.trace_flags | TraceFlags.SAMPLED)
    return SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=flags)


@cache
def _propagator() -> TraceContextTextMapPropagator:
    return TraceContextTextMapPropagator()


Attribute = str | bool | int | float
Attributes = Mapping[str, Attribute]

_LONGEST_REASON = 300


class _Process:
    """The tracer of this process, and those of services that it speaks for; until then nothing is traced."""

    tracer: Tracer = NoOpTracer()
    tracer_of: Callable[[str], Tracer] = staticmethod(lambda _: NoOpTracer())


# Not OpenTelemetry's global one: libraries that find that trace by themselves, whatever anybody sends them.
_process = _Process()


@contextmanager
def traced_by(tracer: Tracer, tracer_of: Callable[[str], Tracer]) -> Iterator[None]:
    """Have spans made by ``tracer`` in this whole process, those of another service by ``tracer_of`` it."""
    before = _process.tracer, _process.tracer_of
    _process.tracer, _process.tracer_of = tracer, tracer_of
    try:
        yield
    finally:
        _process.tracer, _process.tracer_of = before


def root(name: str, of: Root, attributes: Attributes, links: Sequence[Link] = ()) -> Span:
    """Begin a trace. The span may not be recorded, and its context is valid all the same.

    Without a tracer provider the context is not valid either: this process has no part in traces.
    """
    return _process.tracer.start_span(name, root_context(of), attributes=attributes, links=links)


def begin(
    name: str,
    parent: SpanContext | None,
    attributes: Attributes | None = None,
    *,
    links: Sequence[Link] = (),
    start_ns: int | None = None,
    service: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
) -> Span:
    """Begin a span below ``parent``; one that does nothing where that is not recorded.

    ``service`` is who did what it stands for, where that was not this process.
    """
    if parent is None or not parent.trace_flags.sampled:
        return INVALID_SPAN
    context = set_span_in_context(NonRecordingSpan(parent), Context())
    tracer = _process.tracer if service is None else _process.tracer_of(service)
    return tracer.start_span(name, context, kind, attributes, links, start_ns)


@contextmanager
def span(
    name: str, attributes: Attributes | None = None, kind: SpanKind = SpanKind.INTERNAL
) -> Iterator[Span]:
    """A span below the current one, current inside; what is raised inside is its error."""
    parent = here()
    if parent is None or not parent.trace_flags.sampled:
        yield INVALID_SPAN
        return
    begun = _process.tracer.start_span(name, None, kind, attributes)
    with use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield begun
        except BaseException as error:
            failed(begun, str(error) or type(error).__name__)
            raise


@contextmanager
def ending(begun: Collection[Span]) -> Iterator[None]:
    """Have these spans end together; what is raised inside is the error of each."""
    try:
        yield
    except BaseException as error:
        for each in begun:
            failed(each, str(error) or type(error).__name__)
        raise
    finally:
        for each in begun:
            each.end()


@contextmanager
def inside(parent: SpanContext | None) -> Iterator[None]:
    """Have spans begin below ``parent``, which another process has made, and logs and headers name it."""
    if parent is None:
        yield
        return
    token = attach(set_span_in_context(NonRecordingSpan(parent), Context()))
    try:
        yield
    finally:
        detach(token)


def here() -> SpanContext | None:
    """The current place in a trace, recorded or not; null outside of any."""
    context = get_current_span().get_span_context()
    return context if context.is_valid else None


def failed(of: Span, reason: str) -> None:
    """Say that what ``of`` stands for failed."""
    of.set_status(Status(StatusCode.ERROR, reason[:_LONGEST_REASON]))


def link_to(context: SpanContext, why: str) -> Link:
    """A link to another span; ``why`` is one of few words."""
    return Link(context, {"why": why})
