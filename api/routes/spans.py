"""``POST /v1/traces``: spans of all processes as OTLP over HTTP, for ``GET /evaluations/{id}/trace``."""

import zlib
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from api.guard import Guard
from api.openapi import problems
from api.problems import Problem
from api.requests import Intake, is_evaluation_id, unknown_evaluation
from crucible.corpus import shortened
from crucible.models.access import Scope
from crucible.models.frozen import Frozen
from crucible.store import LedgerRow, Store
from crucible.store.spans import SpanStore
from crucible.telemetry.metrics import dropped
from crucible.telemetry.otlp import SpanEvent, SpanLink, SpanRecord, spans_in
from crucible.telemetry.spans import trace_id_of

PROTOBUF = "application/x-protobuf"
MAX_SPANS_BYTES = 8 << 20
"""The largest request, compressed or not: many times what a process hands in at once."""

_GZIP = 16 + zlib.MAX_WBITS


def spans_router(spans: SpanStore, guard: Guard) -> APIRouter:
    """The endpoint of a collector; OTLP describes it, so the description of this API leaves it out."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(guard.needs(Scope.TRACES))])
    intake = Intake(body_bytes=MAX_SPANS_BYTES)

    @router.post("/v1/traces")
    async def take(request: Request) -> Response:
        """Keep spans. Those beyond the bounds of what is kept are rejected, and counted as lost."""
        _refuse_other_than_protobuf(request)
        async with intake.body(request) as body:
            found, rejected = _read(body, request.headers.get("content-encoding", "identity"))
            await spans.add(found)
        answer = ExportTraceServiceResponse()
        if rejected:
            dropped("not readable", rejected)
            answer.partial_success.rejected_spans = rejected
            answer.partial_success.error_message = "beyond the bounds of spans, see docs/tracing.md"
        return Response(answer.SerializeToString(), media_type=PROTOBUF)

    return router


def _refuse_other_than_protobuf(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != PROTOBUF:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is said to be {shortened(kind)!r}; send OTLP as {PROTOBUF}",
            headers={"Accept": PROTOBUF},
        )


def _read(body: bytes, encoding: str) -> tuple[list[SpanRecord], int]:
    try:
        return spans_in(_plain(body, encoding.strip().lower()))
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None


def _plain(body: bytes, encoding: str) -> bytes:
    """The body without its encoding, of which never more is held than may be sent."""
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is encoded as {shortened(encoding)!r}; send it as gzip or as it is",
            headers={"Accept-Encoding": "gzip"},
        )
    unpacking = zlib.decompressobj(_GZIP)
    try:
        plain = unpacking.decompress(body, MAX_SPANS_BYTES)
    except zlib.error as error:
        raise ValueError(f"the body is no gzip: {error}") from error
    if unpacking.unconsumed_tail:
        detail = f"the body is too large when unpacked; the limit is {MAX_SPANS_BYTES} bytes"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    if not unpacking.eof:
        raise ValueError("the body is no gzip: it ends early")
    return plain


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
