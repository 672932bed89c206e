"""``python -m deployments.stack.prefect_server``: Prefect's server in one process, set by ``PREFECT_*``.

The same application that ``prefect server start`` runs, background services included. That command is
not used: it may ask questions about profiles, and takes a number of workers from ``WEB_CONCURRENCY``.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import prefect
import uvicorn
from prefect.settings import Settings, get_current_settings, temporary_settings

from crucible.settings import RetentionSettings, load
from deployments.prefect_private import server
from deployments.stack.environment import DATABASE

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


def provide_database(database: Path) -> None:
    """Make ``database``, the one that Prefect's settings name, unless it exists.

    Prefect's migrations take an empty SQLite file through years of history: six to eight seconds of CPU, more
    than half of a cold start. The first result of them on this machine is kept in the user's cache and copied
    into later homes; a cache that cannot be read or written is done without. Prefect itself looks for pending
    migrations at every start, whatever it is given.
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


if __name__ == "__main__":
    main()
