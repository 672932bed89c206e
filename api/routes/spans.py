"""``POST /v1/traces``: spans of all processes as OTLP over HTTP, for ``GET /evaluations/{id}/trace``."""

import zlib
from http import HTTPStatus

from fastapi import APIRouter, Depends, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from api.guard import Guard
from api.intake import Intake
from api.problems import Problem
from crucible.corpus_faults import shortened
from crucible.models.access import Scope
from crucible.store.spans import SpanStore
from crucible.telemetry.metrics import dropped
from crucible.telemetry.otlp import SpanRecord, spans_in

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
