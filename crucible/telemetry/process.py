"""The tracing of one process: made once, when it starts, and closed when it ends."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider

from crucible.settings import load
from crucible.telemetry.lost import show_none_lost
from crucible.telemetry.outbox import Outbox
from crucible.telemetry.sampling import sampler_of
from crucible.telemetry.settings import OtlpSettings, TraceSettings
from crucible.telemetry.spans import traced_by

_STANDARD_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
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
def tracing(service: str, *processors: SpanProcessor) -> Iterator[None]:
    """Make spans of ``service`` in this process; ``processors`` get them, and OTLP where that is set.

    At the end what waits is written, within seconds. Raises ``SettingsError``.
    """
    provider = TracerProvider(
        sampler=sampler_of(load(TraceSettings)),
        resource=Resource({SERVICE_NAME: service}),
        shutdown_on_exit=False,
        span_limits=_LIMITS,
    )
    for processor in (*processors, *_exporting()):
        provider.add_span_processor(processor)
    show_none_lost()
    try:
        with traced_by(provider.get_tracer("crucible")):
            yield
    finally:
        provider.shutdown()


def _exporting() -> Sequence[SpanProcessor]:
    endpoint = load(OtlpSettings).endpoint
    if endpoint is None and not any(os.environ.get(name) for name in _STANDARD_VARIABLES):
        return ()
    # Imported here: it takes a fifth of a second, and few export.
    from crucible.telemetry.otlp import exporter  # noqa: PLC0415

    return (Outbox(exporter(endpoint)),)
