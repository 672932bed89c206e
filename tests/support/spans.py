"""Spans as tests look at them."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.trace import Tracer

from crucible.telemetry.otlp import SpanRecord, spans_in
from crucible.telemetry.process import sampler_of
from crucible.telemetry.settings import TraceSettings
from crucible.telemetry.spans import traced_by


class KeptSpans(SpanProcessor):
    """Keeps every span that has ended."""

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """See ``SpanProcessor``."""
        self.ended.append(span)

    @property
    def records(self) -> list[SpanRecord]:
        """The spans as the store would have them, in the order in which they ended."""
        found, rejected = spans_in(encode_spans(self.ended).SerializeToString())
        assert not rejected
        by_id = {each.span_id: each for each in found}
        return [by_id[f"{each.context.span_id:016x}"] for each in self.ended]

    def one(self, name: str) -> SpanRecord:
        """The only span of that name."""
        (found,) = [each for each in self.records if each.name == name]
        return found


@contextmanager
def kept_spans(ratio: float = 1.0, sweep_ratio: float = 1.0) -> Iterator[KeptSpans]:
    """Trace this process into memory."""
    kept, everyone = KeptSpans(), SynchronousMultiSpanProcessor()
    everyone.add_span_processor(kept)
    sampler = sampler_of(TraceSettings(ratio=ratio, sweep_ratio=sweep_ratio))

    def tracer_of(service: str) -> Tracer:
        resource = Resource({SERVICE_NAME: service})
        return TracerProvider(sampler, resource, False, everyone).get_tracer("tests")

    with traced_by(tracer_of("tests"), tracer_of):
        yield kept
