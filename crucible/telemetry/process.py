"""The tracing of one process: made once, when it starts, and closed when it ends."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
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
from crucible.telemetry.exporting import BatchExport, Collector
from crucible.telemetry.metrics import show_none_lost
from crucible.telemetry.settings import OtlpSettings, TraceSettings
from crucible.telemetry.spans import Root, root_in, traced_by


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
