"""From OTLP to records of spans."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import Field, ValidationError

from crucible.models.frozen import Frozen

TraceId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
SpanId = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Text = Annotated[str, Field(max_length=300)]
Name = Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")]
"""Postgres takes no NUL in a column of its own."""
Attributes = Annotated[Mapping[Text, Text | bool | int | float], Field(max_length=32)]
Microseconds = Annotated[int, Field(ge=0, lt=2**62)]


class SpanEvent(Frozen):
    """Something that happened during a span."""

    name: Text
    at_us: Microseconds
    attributes: Attributes = Field(default_factory=dict)


class SpanLink(Frozen):
    """Another span that this one has to do with; ``why`` says how."""

    trace_id: TraceId
    span_id: SpanId
    why: Text = ""


class SpanRecord(Frozen):
    """One span that has ended. Times are in µs, since 1970 by the clock of the process that made it.

    ``status`` is null, or why what it stands for failed. ``leg`` is null where both legs have to do with it.
    """

    trace_id: TraceId
    span_id: SpanId
    parent_id: SpanId | None
    name: Name
    service: Name
    leg: Text | None
    started_us: Microseconds
    duration_us: Microseconds
    status: Text | None = None
    attributes: Attributes = Field(default_factory=dict)
    events: Annotated[tuple[SpanEvent, ...], Field(max_length=64)] = ()
    links: Annotated[tuple[SpanLink, ...], Field(max_length=16)] = ()


def with_legs(spans: Sequence[SpanRecord]) -> list[SpanRecord]:
    """``spans``, each with the leg of the nearest span above that has one; executors know of none."""
    by_id = {each.span_id: each for each in spans}

    def leg_of(span: SpanRecord) -> str | None:
        above: SpanRecord | None = span
        for _ in spans:  # no way up is longer
            if above is None or above.leg is not None:
                break
            above = by_id.get(above.parent_id or "")
        return None if above is None else above.leg

    return [each if each.leg else each.model_copy(update={"leg": leg_of(each)}) for each in spans]


def spans_in(body: bytes) -> tuple[list[SpanRecord], int]:
    """The spans of an ``ExportTraceServiceRequest``, and how many others are beyond the bounds of a record.

    Raises ``ValueError`` when ``body`` is no such request.
    """
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(f"the body is no ExportTraceServiceRequest of OTLP: {error}") from error
    found = [
        _record(span, str(_values(resource.resource.attributes).get("service.name", "")))
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    records = [each for each in found if each is not None]
    return records, len(found) - len(records)


def _record(span: Span, service: str) -> SpanRecord | None:
    attributes = _values(span.attributes)
    leg = attributes.pop("leg", None)
    started = span.start_time_unix_nano
    try:
        return SpanRecord.model_validate(
            {
                "trace_id": span.trace_id.hex(),
                "span_id": span.span_id.hex(),
                "parent_id": span.parent_span_id.hex() or None,
                "name": span.name,
                "service": service,
                "leg": leg,
                "started_us": started // 1000,
                "duration_us": max(0, span.end_time_unix_nano - started) // 1000,
                "status": _fault(span.status),
                "attributes": attributes,
                "events": tuple(
                    {
                        "name": each.name,
                        "at_us": each.time_unix_nano // 1000,
                        "attributes": _values(each.attributes),
                    }
                    for each in span.events
                ),
                "links": tuple(
                    {
                        "trace_id": each.trace_id.hex(),
                        "span_id": each.span_id.hex(),
                        "why": str(_values(each.attributes).get("why", "")),
                    }
                    for each in span.links
                ),
            }
        )
    except ValidationError:
        return None


def _fault(status: Status) -> str | None:
    return (status.message or "failed") if status.code == Status.STATUS_CODE_ERROR else None


def _values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
