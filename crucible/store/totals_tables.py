"""The tables of totals: what a sweep's ledger adds up to, how long legs took, and what was let go."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, String, Table, Text

from crucible.store.rollout_tables import COLUMNS
from crucible.store.tables import Id, Instant, metadata


def _columns() -> list[Column[int]]:
    return [Column(name, Integer, nullable=False) for name in ("submitted", *COLUMNS, "unexpected")]


def _checks(table: str) -> list[CheckConstraint]:
    counts = [
        CheckConstraint(f"{name} >= 0", name=f"{table}_{name}_counts") for name in (*COLUMNS, "unexpected")
    ]
    return [CheckConstraint(f"submitted = {' + '.join(COLUMNS)}", name=f"{table}_add_up"), *counts]


sweep_tallies = Table(
    "sweep_tallies",
    metadata,
    Column("sweep_id", Id, ForeignKey("sweeps.id"), primary_key=True),
    *_columns(),
    *_checks("sweep_tallies"),
)

times = Table(
    "times",
    metadata,
    Column("epoch", Integer, ForeignKey("epochs.number"), primary_key=True),
    Column("quantity", String(20), primary_key=True),
    Column("leg", String(10), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
)

let_go = Table(
    "let_go",
    metadata,
    Column("book", Id, primary_key=True),
    Column("stratum", Id, primary_key=True),
    *_columns(),
    *_checks("let_go"),
)

retention = Table(
    "retention",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("evidence_seq", Integer, nullable=False),
    Column("settled_before", Instant),
    Column("ran_at", Instant),
    Column("body", Text, nullable=False),
    CheckConstraint("id = 1", name="retention_is_one_row"),
)
