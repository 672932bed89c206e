"""Who has what in hand, so that somebody else goes on with it when that process is no more."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Name the owner of each evaluation and sweep; what is open from before has none."""
    name = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.add_column("sweeps", sa.Column("owner", name))
    op.add_column("evaluations", sa.Column("owner", name))
    op.create_index(
        "evaluations_open",
        "evaluations",
        ["owner", "id"],
        sqlite_where=sa.text("classification IS NULL"),
        postgresql_where=sa.text("classification IS NULL"),
    )


def downgrade() -> None:
    """Forget owners."""
    op.drop_index("evaluations_open", "evaluations")
    op.drop_column("evaluations", "owner")
    op.drop_column("sweeps", "owner")
