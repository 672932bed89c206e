"""The tracing of one process: made once, when it starts, and closed when it ends.

Spans go to collectors that take OTLP over HTTP: the API, which keeps them, and any other that is named.
Nothing waits for a collector. What it does not take, and what there is no room for meanwhile, is lost and
counted.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, Tracer, TraceState
from opentelemetry.util.types import Attributes

from crucible.errors import SettingsError
from crucible.settings import Settings, load
from crucible.telemetry.metrics import dropped, show_none_lost
from crucible.telemetry.settings import OtlpSettings, TraceSettings
from crucible.telemetry.spans import Root, root_in, traced_by

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


def sampler_of(settings: TraceSettings) -> Sampler:
    """Children do as their parents do; a span that belongs to nothing is not recorded."""
    ratios = {
        Root.TRAFFIC: TraceIdRatioBased(settings.ratio),
        Root.SWEEP: TraceIdRatioBased(settings.sweep_ratio),
        Root.ALWAYS: TraceIdRatioBased(1.0),
    }
    return ParentBased(_ByKind(ratios))


class _ByKind(Sampler):
    def __init__(self, ratios: Mapping[Root, Sampler]) -> None:
        self._ratios = ratios

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See ``Sampler.should_sample``."""
        of = root_in(parent_context)
        if of is None:
            return SamplingResult(Decision.DROP)
        return self._ratios[of].should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See ``Sampler.get_description``."""
        return "ByKind"


_STANDARD_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_MOST_SERVICES = 64
_LIMITS = SpanLimits(
    max_span_attributes=32,
    max_events=64,
    max_links=16,
    max_event_attributes=16,
    max_link_attributes=4,
    max_attribute_length=300,
    max_span_attribute_length=300,
)


@contextmanager
def tracing(service: str, api: Collector | None = None, *processors: SpanProcessor) -> Iterator[None]:
    """Make spans of ``service`` in this process, and export them to ``api`` and to whom the settings name.

    ``processors`` get them besides. At the end what waits is exported, within seconds.
    Raises ``SettingsError``.
    """
    collectors = [each for each in (api, _elsewhere()) if each is not None]
    sampler = sampler_of(load(TraceSettings))
    everyone = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
    for processor in (*processors, *map(BatchExport, collectors)):
        everyone.add_span_processor(processor)

    @lru_cache(_MOST_SERVICES)
    def tracer_of(name: str) -> Tracer:
        resource = Resource({SERVICE_NAME: name})
        return TracerProvider(sampler, resource, False, everyone, span_limits=_LIMITS).get_tracer("crucible")

    show_none_lost()
    try:
        with traced_by(tracer_of(service), tracer_of):
            yield
    finally:
        everyone.shutdown()


def api_of(url: str, token: str) -> Collector:
    """The API at ``url``, which keeps spans; ``token`` is that of the executors, which every process has."""
    return Collector(f"{url.rstrip('/')}/v1/traces", {"Authorization": f"Bearer {token}"})


def api_of_process() -> Collector | None:
    """The API that the environment names, if it does. Raises ``SettingsError``."""
    url, token = load(TraceSettings).url, load(Settings).executor_token
    if url is None:
        return None
    if token is None:
        raise SettingsError(
            "CRUCIBLE_EXECUTOR_TOKEN is not set, which the API at CRUCIBLE_TRACE_URL asks for; set it"
        )
    return api_of(url, token.get_secret_value())


def _elsewhere() -> Collector | None:
    endpoint = load(OtlpSettings).endpoint
    if endpoint is not None:
        return Collector(f"{endpoint.rstrip('/')}/v1/traces")
    return Collector(None) if any(os.environ.get(name) for name in _STANDARD_VARIABLES) else None
