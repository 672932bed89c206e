"""The tables of the migration: its state, its epochs, its evidence and the log of its changes."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from crucible.store.tables import Id, Instant, metadata

COLUMNS = ("waiting", "matched", "mismatched", "nondeterministic", "unpaired", "cancelled", "not_sampled")
"""The columns of a tally besides ``submitted``, which is their sum."""

rollout = Table(
    "rollout",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("since_seq", Integer, nullable=False),
    CheckConstraint("id = 1", name="rollout_is_one_row"),
)

epochs = Table(
    "epochs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("opened_at", Instant, nullable=False),
    Column("body", Text, nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    Column("epoch", Integer, ForeignKey("epochs.number"), primary_key=True),
    Column("stratum", Id, primary_key=True),
    Column("submitted", Integer, nullable=False),
    *(Column(name, Integer, nullable=False) for name in COLUMNS),
    CheckConstraint(f"submitted = {' + '.join(COLUMNS)}", name="tallies_add_up"),
    *(CheckConstraint(f"{name} >= 0", name=f"tallies_{name}_counts") for name in COLUMNS),
)

evidence = Table(
    "evidence",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, ForeignKey("epochs.number"), nullable=False),
    Column("evaluation_id", Id, ForeignKey("evaluations.id"), nullable=False, unique=True),
    Column("mismatch", Boolean, nullable=False),
    Column("against_celery", Boolean, nullable=False),
    Column("mutant", String(30)),
    Column("caught", Boolean),
    Index("evidence_by_epoch", "epoch", "seq"),
)

detectors = Table(
    "detectors",
    metadata,
    Column("epoch", Integer, ForeignKey("epochs.number"), primary_key=True),
    Column("stratum", Id, primary_key=True),
    Column("log_m", Float, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("epoch", Integer, ForeignKey("epochs.number"), primary_key=True),
    Column("name", Id, primary_key=True),
    Column("number", Integer, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
