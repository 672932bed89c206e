"""From OpenTelemetry's spans to records."""

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode


def recorded(span: ReadableSpan) -> dict[str, Any]:
    """What a ``SpanRecord`` of ``span`` is read from."""
    context, parent = span.context, span.parent
    started, ended = span.start_time or 0, span.end_time or 0
    attributes = dict(span.attributes or {})
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_id": None if parent is None else f"{parent.span_id:016x}",
        "name": span.name,
        "service": str(span.resource.attributes.get("service.name", "")),
        "leg": attributes.pop("leg", None),
        "started_us": started // 1000,
        "duration_us": max(0, ended - started) // 1000,
        "status": (span.status.description or "failed") if _is_error(span) else None,
        "attributes": attributes,
        "events": [
            {"name": each.name, "at_us": each.timestamp // 1000, "attributes": dict(each.attributes or {})}
            for each in span.events
        ],
        "links": [
            {
                "trace_id": f"{each.context.trace_id:032x}",
                "span_id": f"{each.context.span_id:016x}",
                "why": str((each.attributes or {}).get("why", "")),
            }
            for each in span.links
        ],
    }


def _is_error(span: ReadableSpan) -> bool:
    return span.status.status_code is StatusCode.ERROR
