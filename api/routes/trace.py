"""``/evaluations/{id}/trace``: what happened to an evaluation, process by process."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api.guard import Guard
from api.ids import is_evaluation_id, unknown_evaluation
from api.openapi import problems
from crucible.models.access import Scope
from crucible.models.frozen import Frozen
from crucible.store import LedgerRow, Store
from crucible.telemetry.otlp import SpanEvent, SpanLink, SpanRecord
from crucible.telemetry.spans import trace_id_of

EvaluationId = Annotated[str, Path(description="Crucible's id of an evaluation, as `ev-...`.")]
Attributes = dict[str, str | bool | int | float]


class EventState(Frozen):
    """Something that happened during a span."""

    name: str
    at: datetime
    attributes: Attributes

    @classmethod
    def of(cls, event: SpanEvent) -> "EventState":
        """The event as the API shows it."""
        return cls(name=event.name, at=_moment(event.at_us), attributes=dict(event.attributes))


class SpanState(Frozen):
    """One span, by the clock of the process that made it, which ``service`` names.

    ``leg`` is null where both legs have to do with it. ``status`` is ``ok``, or why it failed. A link names
    a span that this one repeats, or the flow run.
    """

    span_id: str
    parent_id: str | None
    name: str
    service: str
    leg: str | None
    started_at: datetime
    duration_s: float
    status: str
    attributes: Attributes
    events: tuple[EventState, ...]
    links: tuple[SpanLink, ...]

    @classmethod
    def of(cls, span: SpanRecord) -> "SpanState":
        """The span as the API shows it."""
        return cls(
            span_id=span.span_id,
            parent_id=span.parent_id,
            name=span.name,
            service=span.service,
            leg=span.leg,
            started_at=_moment(span.started_us),
            duration_s=span.duration_us / 1e6,
            status=span.status or "ok",
            attributes=dict(span.attributes),
            events=tuple(EventState.of(each) for each in span.events),
            links=span.links,
        )


class TraceState(Frozen):
    """The trace of an evaluation, its spans by their start.

    ``trace_id`` is null where it was never traced. There are no spans where it was not drawn to be
    recorded, where they are on their way yet (a second or so), and where they are forgotten.
    """

    trace_id: str | None
    spans: tuple[SpanState, ...]


def trace_router(store: Store, guard: Guard) -> APIRouter:
    """The endpoint of traces."""
    router = APIRouter(prefix="/evaluations", dependencies=[Depends(guard.needs(Scope.READ))])

    @router.get("/{evaluation_id}/trace", responses=problems(HTTPStatus.NOT_FOUND))
    async def trace(evaluation_id: EvaluationId) -> TraceState:
        """The spans of an evaluation, of all processes that had it in hand."""
        row, spans = await traced(store, evaluation_id)
        trace_id = trace_id_of(row.traceparent)
        return TraceState(trace_id=trace_id, spans=tuple(SpanState.of(each) for each in spans))

    return router


async def traced(store: Store, evaluation_id: str) -> tuple[LedgerRow, list[SpanRecord]]:
    """An evaluation and its spans; raises a 404 ``Problem`` when there is none of that id."""
    row = await store.evaluation_state(evaluation_id) if is_evaluation_id(evaluation_id) else None
    if row is None:
        raise unknown_evaluation(evaluation_id)
    trace_id = trace_id_of(row.traceparent)
    return row, await store.spans.trace(trace_id) if trace_id else []


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
