"""What went wrong in a database, in one line with the remedy."""

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from crucible.errors import PlatformError, ServiceUnavailable, StoreError

DATABASE_FAULTS = (SQLAlchemyError, sqlite3.Error, OSError)
"""Everything the drivers raise when a database cannot do what it is asked."""

_REMEDIES = {
    "SQLITE_CANTOPEN": "name a folder that can be written with CRUCIBLE_HOME or CRUCIBLE_DATABASE_URL",
    "SQLITE_READONLY": "make the file and its folder writable, or name others with CRUCIBLE_DATABASE_URL",
    "SQLITE_NOTADB": "move that file away, or name another with CRUCIBLE_DATABASE_URL",
    "SQLITE_CORRUPT": "put back a copy of the file, or name a new one with CRUCIBLE_DATABASE_URL",
    "SQLITE_BUSY": "another process has been writing for too long: stop it, then try again",
    "SQLITE_FULL": "free some room on that disk, then try again",
}
_CHECK = "check that CRUCIBLE_DATABASE_URL names a database that Crucible may use"


def shown(url: URL) -> str:
    """How a store is named to a reader: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def translated(error: Exception, url: URL) -> PlatformError:
    """The error a caller of the store sees instead of one of ``DATABASE_FAULTS``."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    problem = (str(cause).splitlines() or [type(cause).__name__])[0]
    if url.get_backend_name() == "sqlite":
        return StoreError(f"store {shown(url)}: {problem}; {_sqlite_remedy(cause)}")
    if isinstance(cause, OSError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return ServiceUnavailable(f"no database server at {shown(url)}: {problem}; start it, or {_CHECK}")
    return StoreError(f"store {shown(url)}: {problem}; {_CHECK}")


def _sqlite_remedy(cause: BaseException) -> str:
    name = getattr(cause, "sqlite_errorname", "")
    if isinstance(cause, OSError):
        name = "SQLITE_CANTOPEN"
    return next((remedy for code, remedy in _REMEDIES.items() if name.startswith(code)), _CHECK)
