"""``/metrics`` of a process that serves nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server

from crucible.errors import SettingsError
from crucible.settings import load
from crucible.telemetry.settings import MetricsSettings


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
