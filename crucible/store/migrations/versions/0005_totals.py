"""Totals that are kept instead of counted, indexes for what is asked at scale, and room to let the old go."""

import base64
import json
import math
import zlib
from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = ("waiting", "matched", "mismatched", "nondeterministic", "unpaired", "cancelled", "not_sampled")
_KINDS = ("", "match", "mismatch", "nondeterministic", "unpaired", "cancelled", "not_sampled")

_INDEXES = (
    ("evaluations_traffic", ["classification", "id"], "epoch IS NOT NULL AND reference IS NULL"),
    ("evaluations_by_reference", ["reference"], "reference IS NOT NULL"),
    (
        "evaluations_unconfirmed",
        ["id", "epoch"],
        "classification = 'mismatch' AND reruns = 0 AND epoch IS NOT NULL",
    ),
    ("evaluations_by_language", ["language", "classification", "id"], None),
    ("evaluations_by_epoch", ["epoch", "classification", "id"], "epoch IS NOT NULL"),
    (
        "evaluations_by_sweep",
        ["sweep_id", "classification", "id", "unexpected"],
        "sweep_id IS NOT NULL",
    ),
)
_FORMER_INDEXES = {
    "evaluations_by_time": ["submitted_at"],
    "evaluations_by_language": ["language", "id"],
    "evaluations_by_epoch": ["epoch", "classification", "id"],
    "evaluations_by_sweep": ["sweep_id", "classification", "id", "unexpected"],
}

_FORMER_GUARDS = (
    ("evaluations_stay", "evaluations", "DELETE", "what was submitted stays in the ledger"),
    ("evidence_is_append_only", "evidence", "DELETE", "the evidence can only grow"),
)
_STAYS = {
    "evaluations_stay": "OLD.classification IS NULL OR OLD.settled_at IS NULL "
    "OR coalesce(OLD.settled_at >= (SELECT settled_before FROM retention), true)",
    "evidence_is_append_only": "OLD.seq > (SELECT evidence_seq FROM retention)",
}
"""What may not be deleted: only what was settled before the day up to which it was let go, and evidence
only up to the position at which the books were closed."""


def upgrade() -> None:
    """Create and fill the totals, and let the database allow that what is closed goes."""
    name = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "sweep_tallies",
        sa.Column("sweep_id", name, sa.ForeignKey("sweeps.id"), primary_key=True),
        *_tally("sweep_tallies"),
    )
    op.create_table(
        "times",
        sa.Column("epoch", sa.Integer, sa.ForeignKey("epochs.number"), primary_key=True),
        sa.Column("quantity", sa.String(20), primary_key=True),
        sa.Column("leg", sa.String(10), primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False),
    )
    op.create_table(
        "let_go",
        sa.Column("book", name, primary_key=True),
        sa.Column("stratum", name, primary_key=True),
        *_tally("let_go"),
    )
    op.create_table(
        "retention",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("evidence_seq", sa.Integer, nullable=False),
        sa.Column("settled_before", moment),
        sa.Column("ran_at", moment),
        sa.Column("body", sa.Text, nullable=False),
        sa.CheckConstraint("id = 1", name="retention_is_one_row"),
    )
    op.execute("INSERT INTO retention (id, evidence_seq, body) VALUES (1, 0, '{}')")
    _index()
    _fill_sweep_tallies()
    _fill_counters()
    _fill_times()
    for guard in _FORMER_GUARDS:
        _drop_guard(*guard[:2])
        _guard(*guard, _STAYS[guard[0]])


def downgrade() -> None:
    """Count again instead, and refuse again that anything goes. What was let go stays gone."""
    _unpack_observations()
    for guard in _FORMER_GUARDS:
        _drop_guard(*guard[:2])
        _guard(*guard, "true")
    op.execute("DELETE FROM counters WHERE name LIKE 'mutant:%' OR name LIKE 'cause:%' OR name = 'unplanted'")
    op.drop_index("sweeps_open", "sweeps")
    op.drop_index("evaluation_tags_by_evaluation", "evaluation_tags")
    op.drop_index("evaluations_unexpected_newest", "evaluations")
    for index, _, _ in _INDEXES:
        op.drop_index(index, "evaluations")
    for index, columns in _FORMER_INDEXES.items():
        op.create_index(index, "evaluations", columns)
    for table in ("retention", "let_go", "times", "sweep_tallies"):
        op.drop_table(table)


def _tally(table: str) -> list[Any]:
    counted = (*_COLUMNS, "unexpected")
    return [
        *(sa.Column(column, sa.Integer, nullable=False) for column in ("submitted", *counted)),
        sa.CheckConstraint(f"submitted = {' + '.join(_COLUMNS)}", name=f"{table}_add_up"),
        *(sa.CheckConstraint(f"{column} >= 0", name=f"{table}_{column}_counts") for column in counted),
    ]


def _index() -> None:
    for index in _FORMER_INDEXES:
        op.drop_index(index, "evaluations")
    for index, columns, condition in _INDEXES:
        _partial(index, "evaluations", columns, condition, condition)
    _partial("evaluations_unexpected_newest", "evaluations", ["id"], "unexpected = 1", "unexpected")
    _partial("sweeps_open", "sweeps", ["owner"], "finished_at IS NULL", "finished_at IS NULL")
    op.create_index("evaluation_tags_by_evaluation", "evaluation_tags", ["evaluation_id"])


def _partial(
    index: str, table: str, columns: list[str], on_sqlite: str | None, on_postgres: str | None
) -> None:
    op.create_index(
        index,
        table,
        columns,
        sqlite_where=None if on_sqlite is None else sa.text(on_sqlite),
        postgresql_where=None if on_postgres is None else sa.text(on_postgres),
    )


def _fill_sweep_tallies() -> None:
    sums = ", ".join(
        f"sum(CASE WHEN coalesce(classification, '') = '{kind}' THEN 1 ELSE 0 END)" for kind in _KINDS
    )
    op.execute(
        f"INSERT INTO sweep_tallies (sweep_id, submitted, {', '.join(_COLUMNS)}, unexpected) "  # noqa: S608
        f"SELECT sweep_id, count(*), {sums}, sum(CASE WHEN unexpected THEN 1 ELSE 0 END) "
        "FROM evaluations WHERE sweep_id IS NOT NULL GROUP BY sweep_id"
    )


def _fill_counters() -> None:
    into = "INSERT INTO counters (epoch, name, number) "
    for what, condition in (("planted", "mutant IS NOT NULL"), ("caught", "mutant IS NOT NULL AND caught")):
        op.execute(
            f"{into} SELECT epoch, 'mutant:' || mutant || '\\:{what}', count(*) FROM evidence "  # noqa: S608
            f"WHERE {condition} GROUP BY epoch, mutant"
        )
    op.execute(
        f"{into} SELECT epoch, 'cause:' || cause, count(*) FROM evaluations "  # noqa: S608
        "WHERE epoch IS NOT NULL AND classification = 'mismatch' AND cause IS NOT NULL GROUP BY epoch, cause"
    )
    planted = "SELECT epoch, max(seq) AS seq FROM evidence WHERE mutant IS NOT NULL GROUP BY epoch"
    op.execute(
        f"{into} SELECT evidence.epoch, 'unplanted', count(*) FROM evidence "  # noqa: S608
        f"LEFT JOIN ({planted}) planted ON planted.epoch = evidence.epoch "
        "WHERE evidence.seq > coalesce(planted.seq, 0) GROUP BY evidence.epoch"
    )


def _fill_times() -> None:
    bind = op.get_bind()
    for quantity in ("duration_s", "waited_s"):
        found: Counter[tuple[int, str, int]] = Counter()
        for leg in ("legacy", "celery"):
            # By microseconds at first, so that the server sends far fewer rows than it has.
            rows = bind.execute(
                sa.text(
                    f"SELECT epoch, round(CAST({leg}.{quantity} AS NUMERIC), 6) AS s, count(*) AS n "  # noqa: S608
                    "FROM evaluations "
                    "JOIN observations legacy ON legacy.evaluation_id = evaluations.id "
                    "AND legacy.leg = 'legacy' AND legacy.run = 0 "
                    "JOIN observations celery ON celery.evaluation_id = evaluations.id "
                    "AND celery.leg = 'celery' AND celery.run = 0 "
                    "WHERE epoch IS NOT NULL AND reference IS NULL "
                    f"AND legacy.{quantity} IS NOT NULL AND celery.{quantity} IS NOT NULL GROUP BY 1, 2"
                )
            )
            for row in rows:
                found[row.epoch, leg, _bucket(float(row.s))] += row.n
        if found:
            bind.execute(
                sa.text("INSERT INTO times VALUES (:epoch, :quantity, :leg, :bucket, :number)"),
                [
                    {"epoch": epoch, "quantity": quantity, "leg": leg, "bucket": bucket, "number": number}
                    for (epoch, leg, bucket), number in found.items()
                ],
            )


def _bucket(seconds: float) -> int:
    return math.ceil(math.log(max(seconds, 1e-6)) / math.log(1.01))


def _guard(name: str, table: str, operation: str, message: str, stays: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name}_{operation.lower()} BEFORE {operation} ON {table} "
            f"WHEN {stays} BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'UPDATE' OR {stays} THEN RAISE EXCEPTION '{message}'; END IF; RETURN OLD; END $$"
    )
    operations = "UPDATE OR DELETE" if table == "evidence" else operation
    op.execute(f"CREATE TRIGGER {name} BEFORE {operations} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")


def _drop_guard(name: str, table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {name}_delete")
        return
    op.execute(f"DROP TRIGGER {name} ON {table}")
    op.execute(f"DROP FUNCTION {name}")


def _unpack_observations() -> None:
    """Write out what was packed: revisions before know plain observations alone."""
    bind, after = op.get_bind(), ("", "", -1)
    query = sa.text(
        "SELECT evaluation_id, leg, run, body FROM observations "
        "WHERE (evaluation_id, leg, run) > (:id, :leg, :run) "
        "AND (body LIKE 'z:%' OR body LIKE '%\"as_legacy\"%') ORDER BY evaluation_id, leg, run LIMIT 500"
    )
    twin = sa.text(
        "SELECT body FROM observations WHERE evaluation_id = :id AND leg = 'legacy' AND run = :run"
    )
    write = sa.text(
        "UPDATE observations SET body = :body WHERE evaluation_id = :id AND leg = :leg AND run = :run"
    )
    while rows := bind.execute(query, dict(zip(("id", "leg", "run"), after, strict=True))).all():
        for row in rows:
            document = _unpacked(row.body)
            if document.pop("as_legacy", False):
                legacy = _unpacked(bind.scalar(twin, {"id": row.evaluation_id, "run": row.run}) or "{}")
                document |= {key: legacy[key] for key in ("stdout_b64", "stderr_b64") if key in legacy}
            key = {"id": row.evaluation_id, "leg": row.leg, "run": row.run}
            bind.execute(write, {**key, "body": json.dumps(document, separators=(",", ":"))})
        after = (rows[-1].evaluation_id, rows[-1].leg, rows[-1].run)


def _unpacked(body: str) -> dict[str, Any]:
    text = zlib.decompress(base64.b64decode(body[2:])).decode() if body.startswith("z:") else body
    found: dict[str, Any] = json.loads(text)
    return found
