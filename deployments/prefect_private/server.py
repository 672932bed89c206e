"""Private parts of Prefect in the process of its server."""

from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import prefect
from fastapi import FastAPI
from prefect.server.api.server import create_app
from prefect.server.database import provide_database_interface
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import class_mapper


def application() -> FastAPI:
    """The server, with its background services."""
    return create_app(final=True)


def is_on_sqlite() -> bool:
    """Whether the database that Prefect's settings name is SQLite."""
    return isinstance(provide_database_interface().database_config, AioSqliteConfiguration)


async def migrate() -> None:
    """Bring the database to the schema of this version; makes one that is not there."""
    await provide_database_interface().create_db()


def take_turns_from_the_start() -> None:
    """Have every writing transaction on SQLite take the right to write when it begins.

    Prefect lets most of them begin as readers. When another one writes before they do, SQLite refuses them at
    once, however long they may wait, the server answers 503, and its clients sleep for two seconds: half of
    all flow runs that begin while others end. Those that ask first wait for their turn, some milliseconds.
    """
    database = provide_database_interface().database_config
    begin = database.begin_transaction

    @asynccontextmanager
    async def begin_to_write(
        session: AsyncSession,
        with_for_update: bool = True,  # noqa: ARG001, FBT001, FBT002 (as Prefect calls it)
    ) -> AsyncGenerator[AsyncSessionTransaction]:
        async with begin(session, with_for_update=True) as transaction:
            yield transaction

    database.begin_transaction = begin_to_write  # type: ignore[method-assign]


def leave_out_what_calls_home(folder: Path) -> None:
    """Serve the first of Prefect's two user interfaces alone: our links lead there.

    The second one asks a server of its maker's analytics what to do whenever a page is opened, whatever the
    settings say. One whose files are not there is not served.
    """
    prefect.__ui_v2_static_path__ = folder / "no second interface"


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
