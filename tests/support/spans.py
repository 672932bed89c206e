"""Spans as tests look at them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from crucible.telemetry.record import SpanRecord, decoded
from crucible.telemetry.recording import recorded
from crucible.telemetry.sampling import sampler_of
from crucible.telemetry.settings import TraceSettings
from crucible.telemetry.spans import traced_by
from tasks.span_stream import SPANS_KEY
from tests.support.valkey import Valkey

_WITHIN_S = 240


class KeptSpans(SpanProcessor):
    """Keeps every span that has ended."""

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """See ``SpanProcessor``."""
        self.ended.append(span)

    @property
    def records(self) -> list[SpanRecord]:
        """The spans as the store would have them."""
        return decoded(orjson.dumps([recorded(each) for each in self.ended]))

    def one(self, name: str) -> SpanRecord:
        """The only span of that name."""
        (found,) = [each for each in self.records if each.name == name]
        return found


@contextmanager
def kept_spans(ratio: float = 1.0, sweep_ratio: float = 1.0) -> Iterator[KeptSpans]:
    """Trace this process into memory."""
    kept = KeptSpans()
    settings = TraceSettings(ratio=ratio, sweep_ratio=sweep_ratio)
    provider = TracerProvider(sampler=sampler_of(settings), shutdown_on_exit=False)
    provider.add_span_processor(kept)
    with traced_by(provider.get_tracer("tests")):
        yield kept


def streamed(server: Valkey) -> list[SpanRecord]:
    """The spans that processes have put into the stream of ``server``."""
    with server.client() as client:
        entries = client.xrange(SPANS_KEY)
    return [span for _, fields in entries for span in decoded(fields[b"spans"])]


async def streamed_names(server: Valkey, trace_id: str, *names: str) -> list[SpanRecord]:
    """The streamed spans of a trace, once all ``names`` are among them, as often as they are given."""
    async with asyncio.timeout(_WITHIN_S):
        while True:
            found = [each for each in streamed(server) if each.trace_id == trace_id]
            there = [each.name for each in found]
            if all(there.count(name) >= names.count(name) for name in names):
                return found
            await asyncio.sleep(0.05)
