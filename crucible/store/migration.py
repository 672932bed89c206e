"""Bringing a database to the newest revision, once, however many processes open it together."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, column, inspect, select, table, text

from crucible.errors import StoreError
from crucible.store.database import Database
from crucible.store.faults import shown, translated
from crucible.store.tables import REVISION, VERSION_TABLE

_ADVISORY_LOCK = 0x63727563
"""The key under which openers of one Postgres database take turns: any number nobody else uses."""


async def migrate(database: Database) -> None:
    """Bring ``database`` to ``REVISION``, creating it if need be; cheap when it is there already.

    Raises ``StoreError`` when a newer Crucible made it or it cannot be written.
    """
    await upgrade(database, REVISION)


async def upgrade(database: Database, revision: str) -> None:
    """Bring ``database`` up to ``revision``; else as ``migrate``."""
    async with _alone(database):
        if await _revision(database) == revision:
            return
        if database.is_sqlite:
            async with database.read() as connection:
                await connection.execute(text("PRAGMA journal_mode = WAL"))
        await _run(database, lambda command, config: command.upgrade(config, revision))


async def downgrade(database: Database, revision: str) -> None:
    """Take ``database`` back to ``revision``, for an older Crucible; ``base`` is before the first.

    Nobody may be using it, and what that revision has no place for is dropped. Raises ``StoreError``
    when there is no such revision.
    """
    async with _alone(database):
        await _run(database, lambda command, config: command.downgrade(config, revision))


def revisions() -> list[str]:
    """All revisions there are, the oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 (as below)

    found = ScriptDirectory.from_config(_config()).walk_revisions()
    return [each.revision for each in found][::-1]


async def _revision(database: Database) -> str | None:
    # Read in a writing transaction: a file that cannot be written is found now, not at the first evaluation.
    async with database.write() as connection:
        if not await connection.run_sync(lambda sync: inspect(sync).has_table(VERSION_TABLE)):
            return None
        found = await connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
        return None if found is None else str(found)


async def _run(database: Database, work: Callable[[Any, Any], None]) -> None:
    async with database.write() as connection:
        if not database.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        await connection.run_sync(_run_alembic, work, shown(database.url))


def _run_alembic(connection: Connection, work: Callable[[Any, Any], None], name: str) -> None:
    # Imported here: a store that needs no migration opens without paying for Alembic.
    from alembic import command  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = _config()
    config.attributes["connection"] = connection
    try:
        work(command, config)
    except CommandError as error:
        raise StoreError(
            f"store {name} stands at a revision this version of Crucible does not know ({error}); "
            "use the newer Crucible that made it, or name another store with CRUCIBLE_DATABASE_URL"
        ) from error


def _config() -> Any:
    from alembic.config import Config  # noqa: PLC0415 (as above)

    config = Config()
    config.set_main_option("script_location", "crucible.store:migrations")
    return config


def _alone(database: Database) -> AbstractAsyncContextManager[None]:
    return _file_lock(database) if database.is_sqlite else nullcontext()


@asynccontextmanager
async def _file_lock(database: Database) -> AsyncIterator[None]:
    """Hold the lock file beside a SQLite database. The file stays: to remove it would be a race."""
    try:
        handle = await asyncio.to_thread(_locked, Path(f"{database.url.database}.lock"))
    except OSError as error:
        raise translated(error, database.url) from error
    with handle:
        yield


def _locked(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("w")
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle
