"""``python -m executors.service``: one executor, set by ``CRUCIBLE_EXECUTOR_*``."""

import sys

import uvicorn

from crucible.errors import CrucibleError, SettingsError
from crucible.logging import configure_logging
from crucible.settings import ExecutorSettings, load
from executors.service.app import create_app

_KEEP_ALIVE_S = 3600
"""Longer than any worker keeps an idle connection: a server that hangs up first breaks the next request."""
_DRAIN_S = 5


def main() -> int:
    """Serve until SIGTERM; exit 2 on a setting that cannot be used."""
    configure_logging()
    try:
        settings = load(ExecutorSettings)
        if not settings.token.get_secret_value():
            raise SettingsError("CRUCIBLE_EXECUTOR_TOKEN is empty; set it to a secret that workers share")
    except CrucibleError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
