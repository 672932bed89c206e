"""What came in as traffic, to be run once more: the newest first, each program once."""

from collections.abc import AsyncIterator
from hashlib import sha256

from sqlalchemy import Select, select, union

from crucible.models import Classification, Evaluation
from crucible.store import encoding
from crucible.store.database import Database
from crucible.store.tables import evaluations

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
