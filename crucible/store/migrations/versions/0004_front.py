"""The way in and the way out: who may ask, what was asked before, and what was traced."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for API keys, for requests that may be repeated, and for spans."""
    name = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.create_table(
        "api_keys",
        sa.Column("id", name, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("per_minute", sa.Integer),
    )
    op.create_table(
        "requests",
        sa.Column("api_key", name, primary_key=True),
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("evaluation_ids", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("requests_by_time", "requests", ["at"])
    op.create_table(
        "spans",
        sa.Column("trace_id", sa.String(32), primary_key=True),
        sa.Column("span_id", sa.String(16), primary_key=True),
        sa.Column("parent_id", sa.String(16)),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("started_us", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("spans_by_time", "spans", ["started_us"])
    op.create_table(
        "evaluation_tags",
        sa.Column("tag", sa.Text, primary_key=True),
        sa.Column("evaluation_id", name, sa.ForeignKey("evaluations.id"), primary_key=True),
    )
    op.add_column("evaluations", sa.Column("traceparent", sa.String(55)))
    op.create_index("evaluations_by_classification", "evaluations", ["classification", "id"])
    op.create_index("evaluations_by_language", "evaluations", ["language", "id"])
    op.create_index("evaluations_by_name", "evaluations", ["name", "id"])
    op.create_index(
        "evaluations_by_cause",
        "evaluations",
        ["cause", "id"],
        sqlite_where=sa.text("cause IS NOT NULL"),
        postgresql_where=sa.text("cause IS NOT NULL"),
    )


def downgrade() -> None:
    """Forget keys, requests, tags and spans."""
    for index in ("by_cause", "by_name", "by_language", "by_classification"):
        op.drop_index(f"evaluations_{index}", "evaluations")
    op.drop_column("evaluations", "traceparent")
    for table in ("evaluation_tags", "spans", "requests", "api_keys"):
        op.drop_table(table)
