"""What went wrong in a database, in one line with the remedy."""

import errno
import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoneFree

from crucible.errors import PlatformError, ServiceUnavailable, StoreError

DATABASE_FAULTS = (SQLAlchemyError, sqlite3.Error, OSError)
"""Everything the drivers raise when a database cannot do what it is asked."""

_PASSING = {
    "SQLITE_BUSY": "another process has been writing for too long: stop it, then try again",
    "SQLITE_FULL": "free some room on that disk, then try again",
    "SQLITE_IOERR": "free some room on that disk, or see whether it is broken, then try again",
    "08": "see whether the server runs",
    "25006": "that server takes no writes: wait for the failover to end, or name the primary",
    "53100": "free some room on the server's disk, then try again",
    "53": "give the server more memory or connections, or run fewer processes",
    "57P": "the server starts or stops: wait, then try again",
}
"""Remedies by how the code of SQLite, or the SQLSTATE of Postgres, begins: faults that pass."""

_LASTING = {
    "SQLITE_CANTOPEN": "name a folder that can be written with CRUCIBLE_HOME or CRUCIBLE_DATABASE_URL",
    "SQLITE_READONLY": "make the file and its folder writable, or name others with CRUCIBLE_DATABASE_URL",
    "SQLITE_NOTADB": "move that file away, or name another with CRUCIBLE_DATABASE_URL",
    "SQLITE_CORRUPT": "put back a copy of the file, or name a new one with CRUCIBLE_DATABASE_URL",
}
"""Remedies of faults that stay until somebody does something."""

_CHECK = "check that CRUCIBLE_DATABASE_URL names a database that Crucible may use"


def shown(url: URL) -> str:
    """How a store is named to a reader: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def translated(error: Exception, url: URL) -> PlatformError:
    """The error a caller of the store sees instead of one of ``DATABASE_FAULTS``.

    ``ServiceUnavailable`` where it may pass: the database is away, busy or full. Else ``StoreError``.
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    problem = (str(cause).splitlines() or [type(cause).__name__])[0]
    if isinstance(error, NoneFree):
        return ServiceUnavailable(f"store {shown(url)}: {problem}; it is asked too much at once, try again")
    code = _code(cause, url)
    if remedy := _remedy(_PASSING, code):
        return ServiceUnavailable(f"store {shown(url)}: {problem}; {remedy}")
    is_lost = isinstance(cause, OSError) or (isinstance(error, DBAPIError) and error.connection_invalidated)
    if is_lost and url.get_backend_name() != "sqlite":
        return ServiceUnavailable(f"no database server at {shown(url)}: {problem}; start it, or {_CHECK}")
    return StoreError(f"store {shown(url)}: {problem}; {_remedy(_LASTING, code) or _CHECK}")


def _code(cause: BaseException, url: URL) -> str:
    if isinstance(cause, OSError) and url.get_backend_name() == "sqlite":
        return "SQLITE_FULL" if cause.errno in (errno.ENOSPC, errno.EDQUOT) else "SQLITE_CANTOPEN"
    return str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")


def _remedy(remedies: dict[str, str], code: str) -> str | None:
    return next((remedy for begin, remedy in remedies.items() if code.startswith(begin)), None)
