"""Sweeps, the ledger of evaluations, and what was observed of them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the three tables."""
    name = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "sweeps",
        sa.Column("id", name, primary_key=True),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("finished_at", moment),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("verdict", sa.String(20)),
        sa.Column("report", sa.Text),
    )
    op.create_table(
        "evaluations",
        sa.Column("id", name, primary_key=True),
        sa.Column("sweep_id", name, sa.ForeignKey("sweeps.id")),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("submitted_at", moment, nullable=False),
        sa.Column("settled_at", moment),
        sa.Column("classification", sa.String(20)),
        sa.Column("unexpected", sa.Boolean, nullable=False),
        sa.Column("comparison", sa.Text),
        sa.Column("reruns", sa.Integer, nullable=False),
    )
    op.create_table(
        "observations",
        sa.Column("evaluation_id", name, sa.ForeignKey("evaluations.id"), primary_key=True),
        sa.Column("leg", sa.String(10), primary_key=True),
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("outcome", sa.String(30), nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("cpu_s", sa.Float, nullable=False),
        sa.Column("executor", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("evaluations_by_sweep", "evaluations", ["sweep_id", "classification", "id", "unexpected"])
    op.create_index("evaluations_by_time", "evaluations", ["submitted_at"])
    op.create_index(
        "evaluations_unexpected",
        "evaluations",
        ["sweep_id", "id"],
        sqlite_where=sa.text("unexpected = 1"),
        postgresql_where=sa.text("unexpected"),
    )


def downgrade() -> None:
    """Drop the three tables, and with them all that was recorded."""
    for table in ("observations", "evaluations", "sweeps"):
        op.drop_table(table)
