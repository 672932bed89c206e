"""A connection pool that knows how each kind of database wants to be written to, and brings it up to date."""

import asyncio
import errno
import fcntl
import os
from asyncio import Lock
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from sqlalchemy import URL, Connection, FromClause, column, event, inspect, make_url, select, table, text
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from crucible.errors import SettingsError, StoreError
from crucible.store.faults import DATABASE_FAULTS, shown, translated
from crucible.store.tables import REVISION, VERSION_TABLE

_ADVISORY_LOCK = 0x63727563
"""The key under which openers of one Postgres database take turns: any number nobody else uses."""

_LEAST_ROOM = 1 << 20
"""Bytes. SQLite reuses its log: on a full disk small writes succeed for a while, and larger ones fail."""

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 15

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
}

_OPTIONS = frozenset({"host", "port", "prepared_statement_cache_size", "ssl"})
"""What may follow the question mark: anything else would be a ``TypeError`` deep in the driver."""


_SQLITE_STILL = {"still": True}
_POSTGRES_STILL = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def sqlite_url(path: Path) -> str:
    """The URL of a store in the SQLite file ``path``."""
    return URL.create(_DRIVERS["sqlite"], database=str(path)).render_as_string()


def parse(url: str) -> URL:
    """``url`` with the driver filled in; raises ``SettingsError`` if it names no SQLite file or Postgres."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError(
            "CRUCIBLE_DATABASE_URL is no database URL; write sqlite:////path/to/file or postgresql://user@host/name"
        ) from error
    driver = _DRIVERS.get(parsed.drivername.partition("+")[0])
    if driver is None:
        raise SettingsError(f"CRUCIBLE_DATABASE_URL names {parsed.drivername!r}; use sqlite or postgresql")
    if driver == _DRIVERS["sqlite"] and parsed.database in (None, "", ":memory:"):
        raise SettingsError("CRUCIBLE_DATABASE_URL names no file; processes share a store, so it needs one")
    unknown = sorted(set(parsed.query) - _OPTIONS)
    if unknown:
        raise SettingsError(
            f"CRUCIBLE_DATABASE_URL has the option {unknown[0]!r}; known are {', '.join(sorted(_OPTIONS))}"
            " (for an encrypted connection: ssl=require)"
        )
    return parsed.set(drivername=driver)


class Database:
    """Reads and writes of one database, its errors turned into Crucible's.

    SQLite lets one writer in at a time. Writers of this process queue here rather than in SQLite,
    which would have them try again at intervals; those of other processes wait ``BUSY_TIMEOUT_S``.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url)
        self._writer = self._engine.execution_options(writes=True)
        self._still = self._engine.execution_options(**(_SQLITE_STILL if self.is_sqlite else _POSTGRES_STILL))
        self._turn: AbstractAsyncContextManager[Any] = Lock() if self.is_sqlite else nullcontext()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that may write: all of it happens, or on an error none."""
        async with self._turn, self._faults_translated(), self._writer.begin() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading. Each statement sees the store as it is at that moment."""
        async with self._faults_translated(), self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading. Every statement sees the store as the first one does."""
        async with self._faults_translated(), self._still.connect() as connection:
            yield connection

    async def check(self) -> None:
        """Raise when it does not answer, and ``ServiceUnavailable`` where SQLite's disk is about full."""
        async with self.read() as connection:
            await connection.scalar(select(1))
            if self.is_sqlite:
                disk = os.statvfs(Path(str(self.url.database)).parent)
                if disk.f_bavail * disk.f_frsize < _LEAST_ROOM:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _faults_translated(self) -> AsyncIterator[None]:
        try:
            yield
        except DATABASE_FAULTS as error:
            raise translated(error, self.url) from error


def _postgres_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, pool_pre_ping=True, connect_args={"timeout": CONNECT_TIMEOUT_S})
    event.listen(engine.sync_engine, "connect", _without_compiling)
    return engine


def _without_compiling(connection: Any, _record: object) -> None:
    # The store asks little at a time. Where Postgres overestimates that, compiling costs more than running.
    cursor = connection.cursor()
    cursor.execute("SET jit = off")
    cursor.close()
    connection.commit()


def _sqlite_engine(url: URL) -> AsyncEngine:
    # Without an isolation level Python's driver leaves transactions to ``_begin``; by itself it would
    # begin them too late and leave statements that define tables outside.
    engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None})
    engine.dialect.statement_compiler = _HintedCompiler
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


class _HintedCompiler(SQLiteCompiler):
    """Writes down which index a statement names, which the dialect would leave out."""

    def get_from_hint_text(self, _table: FromClause, text: str | None) -> str | None:
        """What follows the name of the table."""
        return text


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that starts by reading and then writes can fail at once when another has written
    # in between, however long it may wait. Taking the write lock first makes it wait its turn.
    options = connection.get_execution_options()
    if options.get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif options.get("still"):
        connection.exec_driver_sql("BEGIN")


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
