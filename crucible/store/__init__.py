"""Where everything submitted is accounted for: SQLite in a file, or Postgres by URL."""

from crucible.store.database import sqlite_url
from crucible.store.entries import (
    NOISE_RUN,
    LedgerRow,
    RunObservation,
    Settled,
    Submission,
    Ticket,
    Timing,
    Work,
)
from crucible.store.keys import Repeatable
from crucible.store.ownership import Owner
from crucible.store.store import Store

__all__ = [
    "NOISE_RUN",
    "LedgerRow",
    "Owner",
    "Repeatable",
    "RunObservation",
    "Settled",
    "Store",
    "Submission",
    "Ticket",
    "Timing",
    "Work",
    "sqlite_url",
]
