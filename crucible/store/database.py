"""A connection pool that knows how each kind of database wants to be written to."""

from asyncio import Lock
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, FromClause, event, make_url
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from crucible.errors import SettingsError
from crucible.store.faults import DATABASE_FAULTS, translated

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
