"""Spans to a collector that takes OTLP over HTTP: the API, which keeps them, and any other that is named.

Nothing waits for a collector. What it does not take in time, and what there is no room for meanwhile, is lost
and counted.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from crucible.telemetry.lost import dropped

MOST_WAITING = 10_000
_AT_ONCE = 512
_GATHER_MS = 500
_WITHIN_S = 10
_LAST_WITHIN_S = 2


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go. ``endpoint`` is the whole URL; null: OpenTelemetry's own variables say."""

    endpoint: str | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class BatchExport(BatchSpanProcessor):
    """Exports what has ended twice a second, from a thread of its own.

    At most ``most_waiting`` spans wait, those under way included.
    """

    def __init__(self, collector: Collector, most_waiting: int = MOST_WAITING) -> None:
        self._most, self._waiting, self._lock = most_waiting, 0, threading.Lock()
        self._exporter = _Exporter(collector, self._exported)
        super().__init__(
            self._exporter,
            max_queue_size=most_waiting,
            schedule_delay_millis=_GATHER_MS,
            max_export_batch_size=min(_AT_ONCE, most_waiting),
        )

    def on_end(self, span: ReadableSpan) -> None:
        """See ``SpanProcessor.on_end``. Drops the span where too many wait, which the SDK would not count."""
        with self._lock:
            is_room = self._waiting < self._most
            self._waiting += is_room
        if is_room:
            super().on_end(span)
        else:
            dropped("queue full", 1)

    def shutdown(self) -> None:
        """Export what waits; a collector that does not answer is given up after seconds."""
        self._exporter.hurry()
        super().shutdown()  # type: ignore[no-untyped-call]

    def _exported(self, number: int) -> None:
        with self._lock:
            self._waiting -= number


class _Exporter(SpanExporter):
    """The SDK's exporter, made when it is first needed. It is made anew to end within seconds."""

    def __init__(self, collector: Collector, on_done: Callable[[int], None]) -> None:
        self._collector, self._on_done = collector, on_done
        self._made: SpanExporter | None = None
        self._making = threading.Lock()
        self._is_away = self._is_last = self._is_given_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See ``SpanExporter.export``. The log has a line when spans begin to be lost, not for each batch."""
        said = _said()
        said.first = ""
        result = SpanExportResult.FAILURE if self._is_given_up else self._sdk_exporter().export(spans)
        self._on_done(len(spans))
        was_away, self._is_away = self._is_away, result is not SpanExportResult.SUCCESS
        self._is_given_up = self._is_away and self._is_last
        if self._is_away:
            dropped("not written", len(spans))
            if not was_away:
                to = self._collector.endpoint or "the standard endpoint"
                structlog.get_logger().warning("spans are not written", collector=to, reason=said.first)
        return result

    def hurry(self) -> None:
        """Do not try again what is under way, and give the collector up once it fails from now on."""
        self._is_last = True
        self.shutdown()

    def shutdown(self) -> None:
        """See ``SpanExporter.shutdown``."""
        with self._making:
            made, self._made = self._made, None
        if made is not None:
            made.shutdown()

    def _sdk_exporter(self) -> SpanExporter:
        with self._making:
            if self._made is None:
                self._made = _otlp_exporter(self._collector, _LAST_WITHIN_S if self._is_last else _WITHIN_S)
            return self._made


def _otlp_exporter(collector: Collector, within_s: float) -> SpanExporter:
    # Imported here: it takes some 50 ms, and many processes record nothing.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter(collector.endpoint, headers=collector.headers, timeout=within_s)


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
    logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").addFilter(said)
    return said
