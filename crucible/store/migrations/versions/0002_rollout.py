"""The rollout: state, epochs, evidence and audit log, and what the database itself refuses."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = ("waiting", "matched", "mismatched", "nondeterministic", "unpaired", "cancelled", "not_sampled")
_TABLES = ("audit", "counters", "detectors", "evidence", "tallies", "rollout", "epochs")

_LEAVES_ITS_COLUMN = """OLD.classification IS NOT NULL AND (
    NEW.classification IS NULL
    OR OLD.classification <> NEW.classification
    AND NOT (OLD.classification = 'mismatch' AND NEW.classification = 'nondeterministic'))"""

_GUARDED = (
    ("audit_is_append_only", "audit", "UPDATE OR DELETE", "true", "the audit log can only grow"),
    ("evidence_is_append_only", "evidence", "UPDATE OR DELETE", "true", "the evidence can only grow"),
    ("evaluations_stay", "evaluations", "DELETE", "true", "what was submitted stays in the ledger"),
    (
        "columns_stand",
        "evaluations",
        "UPDATE",
        _LEAVES_ITS_COLUMN,
        "an evaluation keeps its column",
    ),
)
"""Name, table, operations, condition and message of what the database refuses whoever asks."""


def upgrade() -> None:
    """Create the tables of the rollout, and have the database refuse what would falsify the books."""
    name = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    moment = sa.DateTime(timezone=True)
    op.add_column("evaluations", sa.Column("route", sa.Text))
    op.add_column("evaluations", sa.Column("epoch", sa.Integer))
    op.add_column("evaluations", sa.Column("reference", name))
    op.add_column("evaluations", sa.Column("cause", sa.String(64)))
    op.create_index("evaluations_by_epoch", "evaluations", ["epoch", "classification", "id"])
    op.add_column("observations", sa.Column("waited_s", sa.Float))
    op.create_table(
        "rollout",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("since_seq", sa.Integer, nullable=False),
        sa.CheckConstraint("id = 1", name="rollout_is_one_row"),
    )
    epochs = op.create_table(
        "epochs",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("opened_at", moment, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "tallies",
        _epoch(),
        sa.Column("stratum", name, primary_key=True),
        sa.Column("submitted", sa.Integer, nullable=False),
        *(sa.Column(column, sa.Integer, nullable=False) for column in _COLUMNS),
        sa.CheckConstraint(f"submitted = {' + '.join(_COLUMNS)}", name="tallies_add_up"),
        *(sa.CheckConstraint(f"{column} >= 0", name=f"tallies_{column}_counts") for column in _COLUMNS),
    )
    op.create_table(
        "evidence",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer, sa.ForeignKey("epochs.number"), nullable=False),
        sa.Column("evaluation_id", name, sa.ForeignKey("evaluations.id"), nullable=False, unique=True),
        sa.Column("mismatch", sa.Boolean, nullable=False),
        sa.Column("against_celery", sa.Boolean, nullable=False),
        sa.Column("mutant", sa.String(30)),
        sa.Column("caught", sa.Boolean),
    )
    op.create_index("evidence_by_epoch", "evidence", ["epoch", "seq"])
    op.create_table(
        "detectors",
        _epoch(),
        sa.Column("stratum", name, primary_key=True),
        sa.Column("log_m", sa.Float, nullable=False),
    )
    op.create_table(
        "counters",
        _epoch(),
        sa.Column("name", name, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO rollout (id, version, body, since_seq) VALUES (1, 1, '{}', 0)")
    op.bulk_insert(epochs, [{"number": 0, "opened_at": datetime.now(UTC), "body": "{}"}])
    _guard()


def downgrade() -> None:
    """Drop the rollout, its evidence and its log; the ledger of evaluations stays."""
    _unguard()
    for table in _TABLES:
        op.drop_table(table)
    op.drop_index("evaluations_by_epoch", "evaluations")
    for column in ("route", "epoch", "reference", "cause"):
        op.drop_column("evaluations", column)
    op.drop_column("observations", "waited_s")


def _epoch() -> sa.Column[int]:
    return sa.Column("epoch", sa.Integer, sa.ForeignKey("epochs.number"), primary_key=True)


def _guard() -> None:
    for name, table, operations, condition, message in _GUARDED:
        if op.get_bind().dialect.name == "sqlite":
            for operation in operations.split(" OR "):
                op.execute(
                    f"CREATE TRIGGER {name}_{operation.lower()} BEFORE {operation} ON {table} "
                    f"WHEN {condition} BEGIN SELECT RAISE(ABORT, '{message}'); END"
                )
        else:
            op.execute(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
            )
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {operations} ON {table} FOR EACH ROW WHEN ({condition}) "
                f"EXECUTE FUNCTION {name}()"
            )


def _unguard() -> None:
    for name, table, operations, _, _ in _GUARDED:
        if op.get_bind().dialect.name == "sqlite":
            for operation in operations.split(" OR "):
                op.execute(f"DROP TRIGGER {name}_{operation.lower()}")
        else:
            op.execute(f"DROP TRIGGER {name} ON {table}")
            op.execute(f"DROP FUNCTION {name}")
