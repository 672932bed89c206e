"""``python -m deployments.stack.prefect_server``: Prefect's server in one process, set by ``PREFECT_*``.

The same application that ``prefect server start`` runs, background services included. That command is
not used: it may ask questions about profiles, and takes a number of workers from ``WEB_CONCURRENCY``.
"""

from collections.abc import MutableMapping
from typing import Any

import uvicorn
from prefect.server.api.server import create_app
from prefect.server.database import provide_database_interface
from prefect.settings import get_current_settings
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import class_mapper

from deployments.stack.prefect_database import provide_database
from deployments.stack.prefect_environment import DATABASE


def main() -> None:
    """Serve until SIGTERM."""
    settings = get_current_settings()
    provide_database(settings.home / DATABASE)
    pass_over_hybrids()
    api = settings.server.api
    uvicorn.run(
        create_app(final=True),
        host=api.host,
        port=api.port,
        workers=1,
        timeout_keep_alive=api.keepalive_timeout,
        log_level="warning",
    )


def pass_over_hybrids() -> None:
    """Have bulk inserts pass over values of hybrid attributes, as they did up to SQLAlchemy 2.0.

    Prefect's scheduler inserts flow runs with such values. SQLAlchemy 2.1 refuses them unless it is told
    what to do, and no run that is due by a schedule would ever be made.
    """
    database = provide_database_interface()
    for model in (database.FlowRun, database.FlowRunState):
        for attribute in class_mapper(model).all_orm_descriptors:
            if isinstance(attribute, hybrid_property) and attribute.bulk_dml_setter is None:
                attribute.inplace.bulk_dml(_pass_over)


def _pass_over(cls: Any, mapping: MutableMapping[str, Any], value: Any) -> None:
    """The row keeps its key, which is that of no column."""


if __name__ == "__main__":
    main()
