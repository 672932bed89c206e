"""W3C trace context as text, by OpenTelemetry's propagator: in the ledger, in payloads and in headers.

A trace that is not sampled travels too, so that log lines of one evaluation can be found together; its flags
say that nobody records spans of it.
"""

from functools import cache

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

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
