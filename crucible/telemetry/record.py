"""Spans as they are kept and handed on: small, bounded, and the same from every process."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any

import orjson
from pydantic import Field, TypeAdapter

from crucible.models.frozen import Frozen

TraceId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
SpanId = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Text = Annotated[str, Field(max_length=300)]
Attributes = Annotated[Mapping[str, Text | bool | int | float], Field(max_length=32)]
Microseconds = Annotated[int, Field(ge=0, lt=2**62)]


Record = Mapping[str, Any]
"""What a ``SpanRecord`` is read from."""


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
    name: Text
    service: Text
    leg: Text | None
    started_us: Microseconds
    duration_us: Microseconds
    status: Text | None = None
    attributes: Attributes = Field(default_factory=dict)
    events: Annotated[tuple[SpanEvent, ...], Field(max_length=64)] = ()
    links: Annotated[tuple[SpanLink, ...], Field(max_length=16)] = ()


def encoded(records: Sequence[Record]) -> bytes:
    """Records on their way to another process."""
    return orjson.dumps(records)


def decoded(body: bytes | str) -> list[SpanRecord]:
    """Records from another process. Raises ``ValueError`` for what is none, or beyond its bounds."""
    return _records().validate_json(body)


def readable(body: bytes | str) -> tuple[list[SpanRecord], int]:
    """Those records from another process that are some, and how many are none; 1 for a body of no records."""
    try:
        return decoded(body), 0
    except ValueError:
        found = [_readable(each) for each in _parts(body)]
    read = [each for each in found if each is not None]
    return read, max(1, len(found) - len(read))


def _parts(body: bytes | str) -> list[Any]:
    try:
        parts = orjson.loads(body)
    except ValueError:
        return []
    return parts if isinstance(parts, list) else []


def _readable(part: object) -> SpanRecord | None:
    try:
        return SpanRecord.model_validate_json(orjson.dumps(part))
    except ValueError:
        return None


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


@cache
def _records() -> TypeAdapter[list[SpanRecord]]:
    return TypeAdapter(list[SpanRecord])
