"""Where everything submitted is accounted for: SQLite in a file, or Postgres by URL."""

from crucible.store.database import sqlite_url
from crucible.store.entries import LedgerRow, RunObservation, Submission, Timing
from crucible.store.store import Store

__all__ = ["LedgerRow", "RunObservation", "Store", "Submission", "Timing", "sqlite_url"]
