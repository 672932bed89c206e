"""W3C trace context as text: how a trace travels in the ledger, in payloads and in headers.

``00-{trace id}-{span id}-{flags}``. A trace that is not sampled travels too, so that log lines of one
evaluation can be found together; its flags say that nobody records spans of it.
"""

import re

from opentelemetry.trace import SpanContext, TraceFlags

TRACEPARENT = "traceparent"
"""The name under which it travels wherever there are names."""

_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def text_of(context: SpanContext) -> str:
    """``context`` as text."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"


def context_of(traceparent: object) -> SpanContext | None:
    """What ``traceparent`` says; null for anything that is none, since anybody may write to a queue."""
    found = _FORM.fullmatch(traceparent) if isinstance(traceparent, str) else None
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & 1))
    return context if context.is_valid else None


def is_sampled(traceparent: str | None) -> bool:
    """Whether spans of that trace are recorded."""
    return traceparent is not None and traceparent.endswith("1")


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace's id, in hexadecimal."""
    return None if traceparent is None else traceparent[3:35]


def sampled_anew(context: SpanContext) -> SpanContext:
    """The same place in the same trace, whose spans are recorded from here on."""
    return SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=_SAMPLED)
