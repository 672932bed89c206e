"""Spans to a collector that takes OTLP over HTTP: the API, which keeps them, and any other that is named.

Nothing waits for a collector. What it does not take, and what there is no room for meanwhile, is lost and
counted.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from crucible.telemetry.metrics import dropped

MOST_WAITING = 2_048
_GATHER_MS = 1_000
_WITHIN_S = 5


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go. ``endpoint`` is the whole URL; null: OpenTelemetry's own variables say."""

    endpoint: str | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class BatchExport(BatchSpanProcessor):
    """Exports what has ended once a second, from a thread of its own, and at the end what is left.

    At most ``most_waiting`` spans wait, those under way included.
    """

    def __init__(self, collector: Collector, most_waiting: int = MOST_WAITING) -> None:
        self._most, self._waiting, self._lock = most_waiting, 0, threading.Lock()
        exporter = _Exporter(collector, self._exported)
        super().__init__(exporter, most_waiting, _GATHER_MS, most_waiting // 4)

    def on_end(self, span: ReadableSpan) -> None:
        """See ``SpanProcessor.on_end``. The SDK does not say when it drops a span; so it never has to."""
        with self._lock:
            is_room = self._waiting < self._most
            self._waiting += is_room
        if is_room:
            super().on_end(span)
        else:
            dropped("queue full", 1)

    def _exported(self, number: int) -> None:
        with self._lock:
            self._waiting -= number


class _Exporter(OTLPSpanExporter):
    """Counts what is not taken. The log has a line when that begins, not one for each batch."""

    def __init__(self, collector: Collector, on_done: Callable[[int], None]) -> None:
        super().__init__(collector.endpoint, headers=collector.headers, timeout=_WITHIN_S)
        self._to, self._on_done, self._is_away = collector.endpoint or "as OTEL_* says", on_done, False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See ``SpanExporter.export``."""
        said = _said()
        said.first = ""
        result = super().export(spans)
        self._on_done(len(spans))
        was_away, self._is_away = self._is_away, result is not SpanExportResult.SUCCESS
        if self._is_away:
            dropped("not written", len(spans))
            if not was_away:
                structlog.get_logger().warning("spans are not written", collector=self._to, reason=said.first)
        return result


class _Said(threading.local, logging.Filter):
    """Keeps the first thing that the SDK says of a batch, by thread, and lets nobody print it."""

    first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """See ``logging.Filter.filter``."""
        self.first = self.first or record.getMessage()
        return False


@cache
def _said() -> _Said:
    said = _Said()
    logging.getLogger(OTLPSpanExporter.__module__).addFilter(said)
    return said
