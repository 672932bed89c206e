"""Traces of a process that reaches Redis: workers and flow hosts."""

from collections.abc import Iterator
from contextlib import contextmanager

from crucible.telemetry.outbox import Outbox
from crucible.telemetry.process import tracing
from tasks.span_stream import span_writer


@contextmanager
def traced_process(service: str, redis_url: str) -> Iterator[Outbox]:
    """Spans of ``service`` go to the store by way of Redis; the outbox also takes what executors hand over.

    Raises ``SettingsError``.
    """
    outbox = Outbox(span_writer(redis_url))
    with tracing(service, outbox):
        yield outbox
