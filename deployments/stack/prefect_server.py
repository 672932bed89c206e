"""``python -m deployments.stack.prefect_server``: Prefect's server in one process, set by ``PREFECT_*``.

The same application that ``prefect server start`` runs, background services included. That command is
not used: it may ask questions about profiles, and takes a number of workers from ``WEB_CONCURRENCY``.
"""

from typing import Any

import uvicorn
from prefect.settings import Settings, get_current_settings, temporary_settings

from crucible.settings import RetentionSettings, load
from deployments.prefect_private import server
from deployments.stack.prefect_database import provide_database
from deployments.stack.prefect_environment import DATABASE

_LEAST_S = 3601
"""Prefect keeps what has ended for more than an hour, whatever it is told."""


def main() -> None:
    """Serve until SIGTERM."""
    with temporary_settings(retention(load(RetentionSettings))):
        _serve(get_current_settings())


def retention(settings: RetentionSettings) -> dict[str, Any]:
    """What lets Prefect's runs go when Crucible's evaluations go; nothing where they stay."""
    if settings.days is None:
        return {}
    kept_s = max(settings.days * 86_400, _LEAST_S)
    vacuum = "server.services.db_vacuum"
    return {f"{vacuum}.enabled": {"events", "flow_runs"}, f"{vacuum}.retention_period": kept_s}


def _serve(settings: Settings) -> None:
    if server.is_on_sqlite():
        provide_database(settings.home / DATABASE)
        server.take_turns_from_the_start()
    server.pass_over_hybrids()
    server.leave_out_what_calls_home(settings.home)
    api = settings.server.api
    uvicorn.run(
        server.application(),
        host=api.host,
        port=api.port,
        workers=1,
        timeout_keep_alive=api.keepalive_timeout,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
