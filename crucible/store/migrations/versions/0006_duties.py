"""Which controller has which duty, until when, and how far the duty has come."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of leases; each row comes with the first controller that takes the duty."""
    name = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.create_table(
        "duty_leases",
        sa.Column("duty", name, primary_key=True),
        sa.Column("owner", name),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("checkpoint", sa.Text),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("duty_leases")
