"""Metrics of every process: bounds of histograms, lost spans, and the page where nothing else is served."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from prometheus_client import Counter, start_http_server

from crucible.errors import SettingsError
from crucible.settings import load
from crucible.telemetry.settings import MetricsSettings

WAIT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Waiting, and whole runs."""

REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Requests of people and programs."""


REASONS = ("queue full", "not written", "not readable")


def show_none_lost() -> None:
    """Show all reasons at 0, so that a first loss is seen as one."""
    for reason in REASONS:
        _lost_spans().labels(reason)


def dropped(reason: str, number: int) -> None:
    """Count spans that nobody will see; ``reason`` is one of ``REASONS``."""
    _lost_spans().labels(reason).inc(number)


@cache
def _lost_spans() -> Counter:
    return Counter("crucible_spans_dropped", "Spans that were lost on their way.", ("reason",))


@contextmanager
def metrics_served() -> Iterator[None]:
    """Show this process's metrics where its settings say, if they do; raises ``SettingsError``."""
    settings = load(MetricsSettings)
    if not settings.port:
        yield
        return
    try:
        server, thread = start_http_server(settings.port, settings.host)
    except OSError as error:
        raise SettingsError(
            f"CRUCIBLE_METRICS_PORT={settings.port}: cannot listen on {settings.host}:{settings.port}, "
            f"{error.strerror}; set another port (0: none)"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
