"""The store's statements, each a function of its parameters. Nothing here touches a database."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Insert,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    insert,
    select,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.selectable import NamedFromClause

from crucible.models import Classification, Leg
from crucible.store.tables import evaluations, observations, sweeps

Position = tuple[str, str]
"""Where a page of timings ended: classification and id of its last row."""


def enter() -> ReturningInsert[Any]:
    """Insert ledger rows that must not be there yet, returning what their sweeps' totals need."""
    return insert(evaluations).returning(evaluations.c.sweep_id, evaluations.c.classification)


def enter_once(*, on_sqlite: bool) -> ReturningInsert[Any]:
    """As ``enter``; rows that are there already are left alone, and not returned."""
    fresh = sqlite.insert(evaluations) if on_sqlite else postgresql.insert(evaluations)
    returned = (evaluations.c.sweep_id, evaluations.c.classification)
    return fresh.on_conflict_do_nothing().returning(*returned)


def new_rows(table: Table, *, on_sqlite: bool) -> Insert:
    """Insert rows, leaving alone those that are there."""
    if on_sqlite:
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def begin_sweep(*, on_sqlite: bool) -> Insert:
    """Insert a sweep; one that is there and has not ended gets the new values."""
    new = sqlite.insert(sweeps) if on_sqlite else postgresql.insert(sweeps)
    changed = {name: new.excluded[name] for name in ("started_at", "parameters", "owner")}
    return new.on_conflict_do_update(
        index_elements=[sweeps.c.id], set_=changed, where=sweeps.c.finished_at.is_(None)
    )


def lock_rows(ids: Sequence[str]) -> Select[Any]:
    """What settling needs of rows. All lock in one order, so that no two writers wait for each other."""
    return (
        select(
            evaluations.c.id,
            evaluations.c.sweep_id,
            evaluations.c.classification,
            evaluations.c.unexpected,
            evaluations.c.cause,
            evaluations.c.reruns,
            evaluations.c.route,
            evaluations.c.reference,
        )
        .where(evaluations.c.id.in_(ids))
        .order_by(evaluations.c.id)
        .with_for_update()
    )


def settle() -> Update:
    """Settle rows by ``encoding.settlement_values``; a settled row stays as it is."""
    return (
        update(evaluations)
        .where(evaluations.c.id == bindparam("evaluation"), evaluations.c.classification.is_(None))
        .values(settled_at=bindparam("now"), **_settlement())
    )


def reclassify() -> Update:
    """Classify one mismatch again, where that rests on more runs than the classification it has."""
    return (
        update(evaluations)
        .where(
            evaluations.c.id == bindparam("evaluation"),
            evaluations.c.classification == Classification.MISMATCH,
            evaluations.c.reruns < bindparam("reruns"),
        )
        .values(**_settlement())
    )


def traffic_in(ids: Sequence[str]) -> Select[tuple[str]]:
    """One id of traffic among ``ids``, if there is one."""
    return (
        select(evaluations.c.id).where(evaluations.c.id.in_(ids), evaluations.c.route.is_not(None)).limit(1)
    )


def work(ids: Sequence[str]) -> Select[Any]:
    """Ids, payloads, routes and recorded legacy answers, in no order."""
    legacy, _ = _sides()
    return (
        select(
            evaluations.c.id,
            evaluations.c.payload,
            evaluations.c.route,
            evaluations.c.traceparent,
            legacy.c.body.label("recorded"),
        )
        .outerjoin_from(
            evaluations,
            legacy,
            and_(
                legacy.c.evaluation_id == evaluations.c.reference,
                legacy.c.leg == "legacy",
                legacy.c.run == 0,
            ),
        )
        .where(evaluations.c.id.in_(ids))
    )


def payloads(ids: Sequence[str]) -> Select[tuple[str, str]]:
    """Ids and payloads, in no order."""
    return select(evaluations.c.id, evaluations.c.payload).where(evaluations.c.id.in_(ids))


def ledger_rows() -> Select[Any]:
    """Ledger rows without payloads, with the bodies of run 0 as ``legacy_body`` and ``celery_body``."""
    legacy, celery = _sides()
    columns = [column for column in evaluations.c if column.name != "payload"]
    return (
        select(
            *columns,
            legacy.c.body.label("legacy_body"),
            celery.c.body.label("celery_body"),
            legacy.c.waited_s.label("legacy_waited_s"),
            celery.c.waited_s.label("celery_waited_s"),
        )
        .outerjoin_from(evaluations, legacy, _is_first_run(legacy, "legacy"))
        .outerjoin(celery, _is_first_run(celery, "celery"))
    )


def page(
    sweep_id: str,
    classifications: Collection[Classification],
    after_id: str,
    limit: int,
    *,
    unexpected: bool,
) -> Select[Any]:
    """Rows of ``ledger_rows`` in one of ``classifications`` or, if asked for, remarked ``unexpected``.

    The ids are found first, from one stretch of an index for each kind, so that a page costs its length.
    """
    wanted: list[ColumnElement[bool]] = [evaluations.c.classification == kind for kind in classifications]
    if unexpected:
        wanted.append(evaluations.c.unexpected)
    stretches = [_ids(sweep_id, condition, after_id, limit).subquery() for condition in wanted]
    ids = union(*(select(stretch.c.id) for stretch in stretches))
    return ledger_rows().where(evaluations.c.id.in_(ids)).order_by(evaluations.c.id).limit(limit)


def unsettled(sweep_id: str, limit: int) -> Select[tuple[str]]:
    """Ids without a classification, the oldest first."""
    return _ids(sweep_id, evaluations.c.classification.is_(None), "", limit)


def runs(evaluation_id: str) -> Select[tuple[int, str, str]]:
    """Run, leg and body of everything seen of one evaluation, legacy before celery in each run."""
    return (
        select(observations.c.run, observations.c.leg, observations.c.body)
        .where(observations.c.evaluation_id == evaluation_id)
        .order_by(observations.c.run, observations.c.leg.desc())
    )


def timings(sweep_id: str, after: Position, limit: int) -> Select[Any]:
    """Name, language and both legs' seconds, in the order of the ledger's index: a page costs its length."""
    legacy, celery = _sides()
    place = tuple_(evaluations.c.classification, evaluations.c.id)
    return (
        select(
            evaluations.c.classification,
            evaluations.c.id,
            evaluations.c.name,
            evaluations.c.language,
            legacy.c.duration_s.label("legacy_s"),
            celery.c.duration_s.label("celery_s"),
        )
        .join_from(evaluations, legacy, _is_first_run(legacy, "legacy"))
        .join(celery, _is_first_run(celery, "celery"))
        .where(evaluations.c.sweep_id == sweep_id, place > after)
        .order_by(evaluations.c.classification, evaluations.c.id)
        .limit(limit)
    )


def _ids(sweep_id: str, condition: ColumnElement[bool], after_id: str, limit: int) -> Select[tuple[str]]:
    return (
        select(evaluations.c.id)
        .where(evaluations.c.sweep_id == sweep_id, condition, evaluations.c.id > after_id)
        .order_by(evaluations.c.id)
        .limit(limit)
    )


def _settlement() -> dict[str, BindParameter[Any]]:
    return {
        name: bindparam(name) for name in ("classification", "unexpected", "comparison", "reruns", "cause")
    }


def _sides() -> tuple[NamedFromClause, NamedFromClause]:
    return observations.alias("legacy"), observations.alias("celery")


def _is_first_run(side: NamedFromClause, leg: Leg) -> ColumnElement[bool]:
    return and_(side.c.evaluation_id == evaluations.c.id, side.c.leg == leg, side.c.run == 0)
