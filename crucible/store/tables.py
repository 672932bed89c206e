"""The tables as they stand at ``REVISION``. Changes to them come with a migration."""

from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

REVISION = "0006"
"""The newest migration; a store that stands at it needs none."""

VERSION_TABLE = "crucible_alembic_version"
"""Where a store's revision is kept. Not Alembic's default name, since Prefect's database uses that."""

Id = String(64).with_variant(String(64, collation="C"), "postgresql")
"""An id or name. Compared by bytes on every server, so that ids sort by time whatever its locale."""


class Instant(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no zone, so it is put back when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """The moment, with its zone."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


metadata = MetaData()

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Id, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("parameters", Text, nullable=False),
    Column("verdict", String(20)),
    Column("report", Text),
    Column("owner", Id),
    Index(
        "sweeps_open",
        "owner",
        sqlite_where=text("finished_at IS NULL"),
        postgresql_where=text("finished_at IS NULL"),
    ),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("sweep_id", Id, ForeignKey("sweeps.id")),
    Column("name", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("submitted_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("classification", String(20)),
    Column("unexpected", Boolean, nullable=False),
    Column("comparison", Text),
    Column("reruns", Integer, nullable=False),
    Column("route", Text),
    Column("epoch", Integer),
    Column("reference", Id),
    Column("cause", String(64)),
    Column("owner", Id),
    Column("traceparent", String(55)),
    Index(
        "evaluations_by_cause",
        "cause",
        "id",
        sqlite_where=text("cause IS NOT NULL"),
        postgresql_where=text("cause IS NOT NULL"),
    ),
    Index("evaluations_by_classification", "classification", "id"),
    Index(
        "evaluations_by_epoch",
        "epoch",
        "classification",
        "id",
        sqlite_where=text("epoch IS NOT NULL"),
        postgresql_where=text("epoch IS NOT NULL"),
    ),
    Index("evaluations_by_language", "language", "classification", "id"),
    Index("evaluations_by_name", "name", "id"),
    Index(
        "evaluations_by_sweep",
        "sweep_id",
        "classification",
        "id",
        "unexpected",
        sqlite_where=text("sweep_id IS NOT NULL"),
        postgresql_where=text("sweep_id IS NOT NULL"),
    ),
    Index(
        "evaluations_by_reference",
        "reference",
        sqlite_where=text("reference IS NOT NULL"),
        postgresql_where=text("reference IS NOT NULL"),
    ),
    Index(
        "evaluations_open",
        "owner",
        "id",
        sqlite_where=text("classification IS NULL"),
        postgresql_where=text("classification IS NULL"),
    ),
    Index(
        "evaluations_traffic",
        "classification",
        "id",
        sqlite_where=text("epoch IS NOT NULL AND reference IS NULL"),
        postgresql_where=text("epoch IS NOT NULL AND reference IS NULL"),
    ),
    Index(
        "evaluations_unconfirmed",
        "id",
        "epoch",
        sqlite_where=text("classification = 'mismatch' AND reruns = 0 AND epoch IS NOT NULL"),
        postgresql_where=text("classification = 'mismatch' AND reruns = 0 AND epoch IS NOT NULL"),
    ),
    Index(
        "evaluations_unexpected_newest",
        "id",
        sqlite_where=text("unexpected = 1"),
        postgresql_where=text("unexpected"),
    ),
    Index(
        "evaluations_unexpected",
        "sweep_id",
        "id",
        sqlite_where=text("unexpected = 1"),
        postgresql_where=text("unexpected"),
    ),
)

observations = Table(
    "observations",
    metadata,
    Column("evaluation_id", Id, ForeignKey("evaluations.id"), primary_key=True),
    Column("leg", String(10), primary_key=True),
    Column("run", Integer, primary_key=True),
    Column("outcome", String(30), nullable=False),
    Column("duration_s", Float, nullable=False),
    Column("cpu_s", Float, nullable=False),
    Column("executor", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("waited_s", Float),
)
