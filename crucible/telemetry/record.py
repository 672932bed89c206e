"""Spans as they are kept: small, bounded, and the same from every process."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

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
