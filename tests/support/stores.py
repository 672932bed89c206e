"""Stores for tests, copied instead of migrated; where stacks keep their ledgers, and a look into those.

In SQLite in the home of each; with ``CRUCIBLE_TEST_STORE=postgres`` in databases of a Postgres server that
they start for themselves.
"""

import asyncio
import atexit
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from bench import postgres
from crucible.store import Store, sqlite_url
from crucible.store.database import parse

T = TypeVar("T")
_URLS: dict[Path, str] = {}


def on_postgres() -> bool:
    """Whether all stacks of tests are to keep their ledgers in Postgres."""
    return os.environ.get("CRUCIBLE_TEST_STORE") == "postgres"


def url_of(home: Path) -> str:
    """The URL of the store of the stack in ``home``."""
    return _URLS.get(home, sqlite_url(home / "crucible.db"))


def keep_in_postgres(home: Path) -> str:
    """Have the stack in ``home`` keep its ledger in a new database; its URL, from now on that of the home."""
    if home not in _URLS:
        _URLS[home] = new_database(_server())
    return _URLS[home]


def new_database(server: str, template: str = "template1") -> str:
    """The URL of a new database on ``server``, whose URL ends in a slash; a copy of ``template``."""
    name = f"store_{uuid4().hex}"
    _in_thread(f"{server}postgres", f"CREATE DATABASE {name} TEMPLATE {template}", {})
    return f"{server}{name}"


def copied_store(path: Path) -> str:
    """The URL of a new empty store of this version in the file ``path``."""
    shutil.copyfile(_migrated(), path)
    return sqlite_url(path)


def copied_database(server: str) -> str:
    """The URL of a new empty store of this version in a database on ``server``."""
    return new_database(server, _migrated_on(server))


@cache
def _migrated() -> Path:
    """A file with an empty store."""
    path = Path(tempfile.mkdtemp(prefix="crucible-store-")) / "empty.db"
    atexit.register(shutil.rmtree, path.parent)
    _run_in_thread(_opened_once(sqlite_url(path)))
    return path


@cache
def _migrated_on(server: str) -> str:
    """The name of a database with an empty store."""
    url = new_database(server)
    _run_in_thread(_opened_once(url))
    return url.removeprefix(server)


async def _opened_once(url: str) -> None:
    await (await Store.open(url)).close()


def rows(home: Path, query: str, **values: object) -> list[Any]:
    """What ``query`` finds in the store of ``home``, or changes there."""
    return _in_thread(url_of(home), query, values)


def stand_still(home: Path, pid: int) -> None:
    """Stops a process where it keeps nobody from writing: in SQLite one who writes has the store alone."""
    os.kill(pid, signal.SIGSTOP)
    while not _can_be_written(home):
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
        os.kill(pid, signal.SIGSTOP)


def _can_be_written(home: Path) -> bool:
    try:
        rows(home, "UPDATE sweeps SET verdict = verdict WHERE id = ''")
    except DBAPIError:
        return False
    return True


@cache
def _server() -> str:
    """A server for as long as this process lives."""
    kept = ExitStack()
    atexit.register(kept.close)
    return kept.enter_context(postgres.running(max_connections="300"))


def _in_thread(url: str, statement: str, values: Mapping[str, object]) -> list[Any]:
    async def done() -> list[Any]:
        engine = create_async_engine(parse(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        async with engine.connect() as connection:
            found = await connection.execute(text(statement), dict(values))
            answer = [tuple(row) for row in found] if found.returns_rows else []
        await engine.dispose()
        return answer

    return _run_in_thread(done())


def _run_in_thread(doing: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own, for the caller may be in an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, doing).result()
