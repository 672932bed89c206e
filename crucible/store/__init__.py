"""Where everything submitted is accounted for: SQLite in a file, or Postgres by URL."""

from crucible.store.database import sqlite_url
from crucible.store.entries import NOISE_RUN, LedgerRow, RunObservation, Settled, Submission, Timing, Work
from crucible.store.store import Store

__all__ = [
    "NOISE_RUN",
    "LedgerRow",
    "RunObservation",
    "Settled",
    "Store",
    "Submission",
    "Timing",
    "Work",
    "sqlite_url",
]
