"""Requests of OTLP."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SERVICE = "legacy-worker-1"
TRACE_ID = "aa" * 16


def plain(number: int = 1) -> Span:
    """A span without anything more than it must have; its id is ``number`` in each byte."""
    return Span(
        trace_id=bytes.fromhex(TRACE_ID),
        span_id=bytes([number]) * 8,
        name="claim",
        start_time_unix_nano=1_700_000_000_000_000_000,
        end_time_unix_nano=1_700_000_000_001_500_000,
    )


def request_of(*spans: Span) -> bytes:
    """These spans as a process hands them in."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = SERVICE
    resource.scope_spans.add().spans.extend(spans)
    return request.SerializeToString()
