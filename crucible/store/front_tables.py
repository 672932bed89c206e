"""The tables of the way in and the way out: API keys, requests that may be repeated, tags, spans."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from crucible.store.tables import Id, Instant, metadata

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
