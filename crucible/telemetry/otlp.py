"""Spans to whatever collector takes OTLP over HTTP."""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from crucible.errors import ServiceUnavailable
from crucible.telemetry.outbox import Write
from crucible.telemetry.record import Record

_ANSWERS_WITHIN_S = 5


def exporter(endpoint: str | None) -> Write:
    """Exports to ``endpoint``, or where OpenTelemetry's own variables say.

    What it writes raises ``ServiceUnavailable`` when the collector does not take it.
    """
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    sending = OTLPSpanExporter(endpoint=url, timeout=_ANSWERS_WITHIN_S)

    def write(some: Sequence[ReadableSpan | Record]) -> None:
        # What other processes have handed over they export themselves.
        own = [each for each in some if isinstance(each, ReadableSpan)]
        if own and sending.export(own) is not SpanExportResult.SUCCESS:
            raise ServiceUnavailable(f"the collector at {url or 'the standard endpoint'} takes no spans")

    return write
