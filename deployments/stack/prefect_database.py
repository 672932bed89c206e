"""A migrated database for a new home.

Prefect's migrations take an empty SQLite file through years of history: six to eight seconds of CPU, more
than half of a cold start. The first result of them on this machine is kept in the user's cache and copied
into later homes. Prefect itself looks for pending migrations at every start, whatever it is given.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import prefect

from deployments.prefect_private import server


def provide_database(database: Path) -> None:
    """Make ``database``, the one that Prefect's settings name, unless it exists.

    A cache that cannot be read or written is done without.
    """
    if database.exists():
        return
    kept = _cache() / f"prefect-{prefect.__version__}.db"
    with suppress(OSError):
        with _draft_of(database) as draft:
            shutil.copyfile(kept, draft)
        return
    asyncio.run(server.migrate())
    with suppress(OSError, sqlite3.Error), _draft_of(kept) as draft:
        _copy(database, draft)


def _cache() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path.home() / ".cache") / "crucible"


def _copy(database: Path, copy: Path) -> None:
    # Not as a file: part of what is in the database may still be in the log beside it.
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of ``path`` once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
