"""``python -m deployments.stack.prefect_server``: Prefect's server in one process, set by ``PREFECT_*``.

The same application that ``prefect server start`` runs, background services included. That command is
not used: it may ask questions about profiles, and takes a number of workers from ``WEB_CONCURRENCY``.
"""

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings

from deployments.stack.prefect_database import provide_database
from deployments.stack.prefect_environment import DATABASE


def main() -> None:
    """Serve until SIGTERM."""
    settings = get_current_settings()
    provide_database(settings.home / DATABASE)
    api = settings.server.api
    uvicorn.run(
        create_app(final=True),
        host=api.host,
        port=api.port,
        workers=1,
        timeout_keep_alive=api.keepalive_timeout,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
