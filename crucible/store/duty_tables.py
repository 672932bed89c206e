"""The table of the duties that controllers share."""

from sqlalchemy import Column, Float, Table, Text

from crucible.store.tables import Id, metadata

duty_leases = Table(
    "duty_leases",
    metadata,
    Column("duty", Id, primary_key=True),
    Column("owner", Id),
    Column("until", Float, nullable=False),
    Column("checkpoint", Text),
)
