"""The tables of the store: the ledger, the way in and out, the migration, totals, and duties."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
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


api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("per_minute", Integer),
)

requests = Table(
    "requests",
    metadata,
    Column("api_key", Id, primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("evaluation_ids", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Index("requests_by_time", "at"),
)

evaluation_tags = Table(
    "evaluation_tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("evaluation_id", Id, ForeignKey("evaluations.id"), primary_key=True),
    Index("evaluation_tags_by_evaluation", "evaluation_id"),
)

spans = Table(
    "spans",
    metadata,
    Column("trace_id", String(32), primary_key=True),
    Column("span_id", String(16), primary_key=True),
    Column("parent_id", String(16)),
    Column("name", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("spans_by_time", "started_us"),
)


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


duty_leases = Table(
    "duty_leases",
    metadata,
    Column("duty", Id, primary_key=True),
    Column("owner", Id),
    Column("until", Float, nullable=False),
    Column("checkpoint", Text),
)
