"""Lists of what is in the store, newest first, page by page: each page costs its length."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, Select, and_, func, literal_column, select, union, union_all

from crucible.ids import first_id_at
from crucible.models import Classification, Evaluation, Leg
from crucible.models.comparison import Outcome
from crucible.models.frozen import Frozen
from crucible.store import encoding
from crucible.store.database import Database
from crucible.store.tables import evaluation_tags, evaluations, observations, sweeps


@dataclass(frozen=True, slots=True)
class EvaluationFilter:
    """Which evaluations are wanted: those that fit everything that is not null.

    ``name`` is the author's id, ``since`` and ``until`` bound when an evaluation was submitted, the first
    inclusive, and ``cause`` is a fingerprint.
    """

    status: Literal["submitted", "settled"] | None = None
    classification: Classification | None = None
    unexpected: bool | None = None
    sweep_id: str | None = None
    language: str | None = None
    name: str | None = None
    tag: str | None = None
    cause: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class LegSummary(Frozen):
    """What one leg saw, without its output. ``waited_s`` is how long it took beside the program's time."""

    outcome: Outcome
    duration_s: float
    waited_s: float | None


class EvaluationSummary(Frozen):
    """One line of a list. ``name`` is the author's id; null legs have not answered."""

    id: str
    name: str
    language: str
    sweep_id: str | None
    submitted_at: datetime
    settled_at: datetime | None
    classification: Classification | None
    unexpected: bool
    cause: str | None
    reruns: int
    legacy: LegSummary | None
    celery: LegSummary | None


class SweepSummary(Frozen):
    """One sweep. ``verdict`` is null while it is under way.

    In its place stands ``crashed`` where the sweep's process ended first, and ``cancelled`` or ``not swept``.
    """

    id: str
    started_at: datetime
    finished_at: datetime | None
    verdict: str | None


class Listing:
    """That part of the store; it raises as ``Store`` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def evaluations(
        self, wanted: EvaluationFilter, before_id: str | None, limit: int
    ) -> list[EvaluationSummary]:
        """At most ``limit`` evaluations with ids below ``before_id``, newest first."""
        ids = _newest(wanted, before_id, limit).subquery()
        query = _summaries(select(ids.c.id))
        async with self._database.read() as connection:
            return [_summary(row) for row in await connection.execute(query)]

    async def sweeps(self, before_id: str | None, limit: int) -> list[SweepSummary]:
        """At most ``limit`` sweeps with ids below ``before_id``, newest first."""
        query = _sweeps().order_by(sweeps.c.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(sweeps.c.id < before_id)
        async with self._database.read() as connection:
            return [SweepSummary(**row._mapping) for row in await connection.execute(query)]  # noqa: SLF001

    async def sweep(self, sweep_id: str) -> SweepSummary | None:
        """One sweep; null when there is none of that id."""
        async with self._database.read() as connection:
            row = (await connection.execute(_sweeps().where(sweeps.c.id == sweep_id))).one_or_none()
        return None if row is None else SweepSummary(**row._mapping)  # noqa: SLF001

    async def durations(self, newest: int) -> list[tuple[Leg, float]]:
        """How long each leg ran the ``newest`` evaluations, in seconds."""
        ids = select(evaluations.c.id).order_by(evaluations.c.id.desc()).limit(newest).subquery()
        async with self._database.read() as connection:
            # Asked for first: not knowing where they begin, Postgres would read all observations there are.
            oldest = await connection.scalar(select(func.min(ids.c.id)))
            query = select(observations.c.leg, observations.c.duration_s).where(
                observations.c.evaluation_id >= (oldest or ""), observations.c.run == 0
            )
            return [(row.leg, row.duration_s) for row in await connection.execute(query)]


def _sweeps() -> Select[Any]:
    return select(sweeps.c.id, sweeps.c.started_at, sweeps.c.finished_at, sweeps.c.verdict)


def _newest(wanted: EvaluationFilter, before_id: str | None, limit: int) -> Select[Any]:
    """Ids, from one stretch of an index where there is an index for what is wanted."""
    conditions = _conditions(wanted)
    identity: ColumnElement[Any] = evaluations.c.id
    if wanted.tag is not None:
        identity = evaluation_tags.c.evaluation_id
    if before_id is not None:
        conditions.append(identity < before_id)
    if wanted.since is not None:
        conditions.append(identity >= first_id_at("ev-", wanted.since))
    if wanted.until is not None:
        conditions.append(identity < first_id_at("ev-", wanted.until))
    # Written out: of a parameter Postgres thinks that it wants a tenth of what fits, and plans each time.
    page: ColumnElement[int] = literal_column(str(limit))

    def stretch(*more: ColumnElement[bool]) -> Select[Any]:
        found = select(identity.label("id"))
        if wanted.tag is not None:
            found = found.join_from(evaluation_tags, evaluations).where(evaluation_tags.c.tag == wanted.tag)
        return found.where(*conditions, *more).order_by(identity.desc()).limit(page)

    if wanted.sweep_id is not None and wanted.unexpected:
        return stretch()  # from the index of those alone
    by_kind = wanted.sweep_id is not None or wanted.language is not None
    if not by_kind or wanted.classification is not None or wanted.status == "submitted":
        return stretch()
    # The indexes of sweeps and languages are ordered by classification first: one stretch for each.
    kinds = [evaluations.c.classification == each for each in Classification]
    if wanted.status is None:
        kinds.append(evaluations.c.classification.is_(None))
    together = union_all(*(select(stretch(kind).subquery().c.id) for kind in kinds)).subquery()
    return select(together.c.id).order_by(together.c.id.desc()).limit(page)


def _conditions(wanted: EvaluationFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [
        evaluations.c[name] == value
        for name in ("classification", "sweep_id", "language", "name", "cause", "unexpected")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.status is not None:
        is_open = evaluations.c.classification.is_(None)
        found.append(is_open if wanted.status == "submitted" else ~is_open)
    return found


_PLAIN: Sequence[str] = (
    *("id", "name", "language", "sweep_id", "submitted_at", "settled_at"),
    *("classification", "unexpected", "cause", "reruns"),
)


def _summaries(ids: Select[Any]) -> Select[Any]:
    query = select(*(evaluations.c[name] for name in _PLAIN))
    joined: Any = evaluations
    for leg in ("legacy", "celery"):
        side = observations.alias(leg)
        is_first = and_(side.c.evaluation_id == evaluations.c.id, side.c.leg == leg, side.c.run == 0)
        joined = joined.outerjoin(side, is_first)
        parts = (side.c[name].label(f"{leg}_{name}") for name in LegSummary.model_fields)
        query = query.add_columns(*parts)
    return query.select_from(joined).where(evaluations.c.id.in_(ids)).order_by(evaluations.c.id.desc())


def _summary(row: Row[Any]) -> EvaluationSummary:
    values = row._mapping  # noqa: SLF001 (the row's own name for what it holds)
    plain = {name: values[name] for name in _PLAIN}
    return EvaluationSummary(**plain, legacy=_leg(values, "legacy"), celery=_leg(values, "celery"))


def _leg(values: Any, leg: Leg) -> LegSummary | None:
    if values[f"{leg}_outcome"] is None:
        return None
    return LegSummary(**{name: values[f"{leg}_{name}"] for name in LegSummary.model_fields})


_PAGE = 50
_AFTER_ALL = "~"
"""Sorts behind every id."""


async def recorded(database: Database, limit: int) -> AsyncIterator[tuple[str, Evaluation]]:
    """At most ``limit`` evaluations that belong to no sweep, with their ids, the newest first.

    Of those with the same language, code, standard input and limits the newest alone. Read page by page;
    memory grows by 32 bytes for each that is handed out.
    """
    seen: set[bytes] = set()
    before = _AFTER_ALL
    while len(seen) < limit:
        async with database.read() as connection:
            rows = (await connection.execute(_page(before))).all()
        for row in rows:
            evaluation = encoding.evaluation_of(row)
            program = _fingerprint(evaluation)
            if program not in seen and len(seen) < limit:
                seen.add(program)
                yield row.id, evaluation
        if len(rows) < _PAGE:
            return
        before = rows[-1].id


def _page(before: str) -> Select[tuple[str, str]]:
    """Ids and payloads; ids first, from one stretch of the ledger's index for each classification.

    So a page costs its length, however many evaluations of sweeps lie between.
    """
    stretches = [
        select(evaluations.c.id)
        .where(
            evaluations.c.sweep_id.is_(None),
            evaluations.c.epoch.is_not(None),
            evaluations.c.reference.is_(None),
            evaluations.c.classification.is_(None) if kind is None else evaluations.c.classification == kind,
            evaluations.c.id < before,
        )
        .order_by(evaluations.c.id.desc())
        .limit(_PAGE)
        .subquery()
        for kind in (None, *Classification)
    ]
    ids = union(*(select(stretch.c.id) for stretch in stretches)).subquery()
    newest = select(ids.c.id).order_by(ids.c.id.desc()).limit(_PAGE)
    return (
        select(evaluations.c.id, evaluations.c.payload)
        .where(evaluations.c.id.in_(newest))
        .order_by(evaluations.c.id.desc())
    )


def _fingerprint(evaluation: Evaluation) -> bytes:
    digest = sha256()
    for part in (
        evaluation.language,
        evaluation.code,
        evaluation.stdin,
        evaluation.limits.model_dump_json(),
    ):
        data = part.encode()
        digest.update(len(data).to_bytes(8))
        digest.update(data)
    return digest.digest()
