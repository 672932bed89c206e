"""The pairs that count as evidence, as they were observed, in the order in which they count."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.models import LEGS, Observation
from crucible.store import encoding
from crucible.store.entries import NOISE_RUN
from crucible.store.rollout_tables import evidence
from crucible.store.tables import evaluations, observations

_PAGE = 200


class RawPair(NamedTuple):
    """One row of the evidence with its evaluation, and what each leg saw, the first run first."""

    row: Row[Any]
    legacy: Sequence[Observation]
    celery: Sequence[Observation]


async def raw_pairs(connection: AsyncConnection, after: int) -> AsyncIterator[RawPair]:
    """All pairs behind position ``after``, page by page."""
    while rows := (await connection.execute(_page(after))).all():
        seen = await _observations(connection, [row.id for row in rows])
        for row in rows:
            yield RawPair(row, *_sides(seen.get(row.id, {})))
        after = rows[-1].seq


def _page(after: int) -> Select[Any]:
    columns = ("id", "payload", "route", "reference", "classification", "reruns", "settled_at")
    return (
        select(evidence, *(evaluations.c[name] for name in columns))
        .join(evaluations, evaluations.c.id == evidence.c.evaluation_id)
        .where(evidence.c.seq > after)
        .order_by(evidence.c.seq)
        .limit(_PAGE)
    )


Runs = dict[int, dict[str, Observation]]


async def _observations(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Runs]:
    query = select(observations).where(observations.c.evaluation_id.in_(ids), observations.c.run < NOISE_RUN)
    found: dict[str, Runs] = {}
    for row in await connection.execute(query.order_by(observations.c.run, observations.c.leg.desc())):
        seen = found.setdefault(row.evaluation_id, {}).setdefault(row.run, {})
        seen[row.leg] = encoding.observation_of(
            row.body, row.evaluation_id, row.leg, row.run, seen.get("legacy")
        )
    return found


def _sides(runs: Runs) -> tuple[list[Observation], list[Observation]]:
    """Legacy's observations and Celery's: the first run as it was, later ones where both answered."""
    first = runs.get(0, {})
    legacy, celery = ([first[leg]] if leg in first else [] for leg in LEGS)
    for run, seen in runs.items():
        if run and len(seen) == len(LEGS):
            legacy.append(seen["legacy"])
            celery.append(seen["celery"])
    return legacy, celery
