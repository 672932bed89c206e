"""Everything that gates decide on, read in one transaction."""

from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.evidence import rank_bounds
from crucible.ids import random_id
from crucible.models import LEGS, Classification, Observation
from crucible.rollout.assessment import Columns, EpochInputs, LegTimes, MutantCount, NoiseCount
from crucible.rollout.epoch import Epoch
from crucible.store import encoding
from crucible.store.entries import NOISE_RUN
from crucible.store.queries import ledger_rows
from crucible.store.rollout_state import newest_seq
from crucible.store.tables import (
    COLUMNS,
    counters,
    detectors,
    evaluations,
    evidence,
    observations,
    tallies,
    times,
)
from crucible.store.tally import lower_s, upper_s

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


CAUSE, MUTANT, UNPLANTED = "cause:", "mutant:", "unplanted"
"""Names of counters, or how they begin: mismatches by cause, planted faults by kind, pairs since the last."""

DIFFERED = (Classification.MISMATCH, Classification.NONDETERMINISTIC)
"""What has become of a sentinel whose reference is drawn no more."""

NOISE = ("reruns", "only_celery", "only_legacy")
_MOST_CAUSES = 20


async def read_inputs(connection: AsyncConnection, epoch: Epoch) -> EpochInputs:
    """What was counted in ``epoch`` until now."""
    numbers = await _counters(connection, epoch.number)
    causes = _of_kind(numbers, CAUSE)
    waiting = and_(evaluations.c.epoch == epoch.number, evaluations.c.classification.is_(None))
    oldest = datetime.now(UTC) - timedelta(seconds=epoch.key.policy.patience_s)
    return EpochInputs(
        epoch=epoch.number,
        seq=await newest_seq(connection),
        strata=await read_tallies(connection, epoch.number),
        overdue=await _number(connection, and_(waiting, evaluations.c.submitted_at < oldest)),
        unconfirmed=await connection.scalar(
            _unconfirmed(func.count()).where(evaluations.c.epoch == epoch.number)
        )
        or 0,
        mutants=_mutants(_of_kind(numbers, MUTANT)),
        pairs_since_mutant=numbers.get(UNPLANTED, 0),
        noise=NoiseCount(**{name: numbers.get(f"noise:{name}", 0) for name in NOISE}),
        rule_uses=_of_kind(numbers, "rule:"),
        execution=await _times(connection, epoch, "duration_s"),
        waiting_time=await _times(connection, epoch, "waited_s"),
        causes=dict(sorted(causes.items(), key=lambda each: (-each[1], each[0]))[:_MOST_CAUSES]),
    )


async def read_tallies(connection: AsyncConnection, epoch: int) -> dict[str, Columns]:
    """The ledger of each stratum of ``epoch``."""
    rows = await connection.execute(
        select(tallies).where(tallies.c.epoch == epoch).order_by(tallies.c.stratum)
    )
    return {
        row.stratum: Columns(**{name: getattr(row, name) for name in ("submitted", *COLUMNS)}) for row in rows
    }


async def random_reference(connection: AsyncConnection) -> str | None:
    """One matched evaluation of traffic, drawn at random, unless a sentinel from it has differed.

    An id is drawn between the first and the last, and the next one there is taken: an index is asked a few
    times, however many there are.
    """
    # Each in a query of its own: SQLite looks up one end of an index, but for both it reads all of it.
    ends = (select(end(evaluations.c.id)).where(MATCHED_TRAFFIC) for end in (func.min, func.max))
    first, last = (await connection.execute(select(*(end.scalar_subquery() for end in ends)))).one()
    if first is None:
        return None
    drawn = random_id(first, last)
    ahead = _references().where(evaluations.c.id >= drawn).order_by(evaluations.c.id)
    behind = _references().where(evaluations.c.id < drawn).order_by(evaluations.c.id.desc())
    found: str | None = await connection.scalar(ahead.limit(1))
    return found or await connection.scalar(behind.limit(1))


def _references() -> Select[tuple[str]]:
    sentinel = evaluations.alias("sentinel")
    differed = exists().where(
        sentinel.c.reference == evaluations.c.id,
        sentinel.c.classification.in_(DIFFERED),
    )
    return select(evaluations.c.id).where(MATCHED_TRAFFIC, ~differed)


def mismatches(epoch: int, after_id: str, limit: int) -> Select[Any]:
    """Rows of ``queries.ledger_rows``: the mismatches of traffic in one epoch."""
    return (
        ledger_rows()
        .where(
            evaluations.c.epoch == epoch,
            evaluations.c.classification == Classification.MISMATCH,
            evaluations.c.id > after_id,
        )
        .order_by(evaluations.c.id)
        .limit(limit)
    )


def unconfirmed(limit: int) -> Select[tuple[str]]:
    """Mismatches of traffic that were never run again."""
    return _unconfirmed(evaluations.c.id).order_by(evaluations.c.id).limit(limit)


def _unconfirmed(wanted: ColumnElement[Any]) -> Select[Any]:
    # SQLite would rather go through all mismatches, not knowing how few of them the index for these holds.
    found = select(wanted).select_from(evaluations).where(UNCONFIRMED)
    return found.with_hint(evaluations, "INDEXED BY evaluations_unconfirmed", "sqlite")


async def read_detectors(connection: AsyncConnection, epoch: int) -> dict[str, float]:
    """The logarithm of each detector's statistic, by stratum."""
    query = select(detectors.c.stratum, detectors.c.log_m).where(detectors.c.epoch == epoch)
    return {row.stratum: row.log_m for row in await connection.execute(query.order_by(detectors.c.stratum))}


async def read_counter(connection: AsyncConnection, epoch: int, name: str) -> int:
    """What one counter of ``epoch`` stands at."""
    query = select(counters.c.number).where(counters.c.epoch == epoch, counters.c.name == name)
    return await connection.scalar(query) or 0


async def _counters(connection: AsyncConnection, epoch: int) -> Mapping[str, int]:
    rows = await connection.execute(
        select(counters.c.name, counters.c.number).where(counters.c.epoch == epoch)
    )
    return {row.name: row.number for row in rows}


def _of_kind(numbers: Mapping[str, int], kind: str) -> dict[str, int]:
    """The counters that there is something in, by what follows ``kind`` in their names."""
    return {
        name.removeprefix(kind): number
        for name, number in numbers.items()
        if number and name.startswith(kind)
    }


async def _number(connection: AsyncConnection, condition: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(evaluations).where(condition)
    return await connection.scalar(query) or 0


async def read_causes(connection: AsyncConnection, epoch: int) -> dict[str, int]:
    """The mismatches of ``epoch`` by cause."""
    return _of_kind(await _counters(connection, epoch), CAUSE)


async def read_mutants(connection: AsyncConnection, epoch: int) -> dict[str, MutantCount]:
    """The faults that were planted in ``epoch``, by kind."""
    return _mutants(_of_kind(await _counters(connection, epoch), MUTANT))


def _mutants(numbers: Mapping[str, int]) -> dict[str, MutantCount]:
    kinds = {name.partition(":")[0] for name in numbers}
    return {
        kind: MutantCount(planted=numbers[f"{kind}:planted"], caught=numbers.get(f"{kind}:caught", 0))
        for kind in kinds
    }


async def _times(connection: AsyncConnection, epoch: Epoch, quantity: str) -> LegTimes:
    """Bounds of the values at the ranks that bound both legs' p95, of the pairs that both legs ran.

    Against Celery each: legacy's is where its bucket begins, Celery's where it ends.
    """
    query = select(times.c.leg, times.c.bucket, times.c.number).where(
        times.c.epoch == epoch.number, times.c.quantity == quantity
    )
    found: dict[str, list[tuple[int, int]]] = {leg: [] for leg in LEGS}
    for row in await connection.execute(query.order_by(times.c.bucket)):
        found[row.leg].append((row.bucket, row.number))
    pairs = sum(number for _, number in found["legacy"])
    bounds = rank_bounds(pairs, alpha=epoch.key.policy.alpha)
    return LegTimes(
        pairs=pairs,
        legacy_low=None if bounds.lower is None else lower_s(_at_rank(found["legacy"], bounds.lower)),
        celery_high=None if bounds.upper is None else upper_s(_at_rank(found["celery"], bounds.upper)),
    )


def _at_rank(buckets: Sequence[tuple[int, int]], rank: int) -> int:
    """The bucket that holds the value at ``rank``, from 1."""
    sums = list(accumulate(number for _, number in buckets))
    return buckets[bisect_left(sums, rank)][0]


UNCONFIRMED = text(
    "(evaluations.classification = 'mismatch' AND evaluations.reruns = 0 AND evaluations.epoch IS NOT NULL)"
)
MATCHED_TRAFFIC = text(
    "(evaluations.classification = 'match'"
    " AND evaluations.epoch IS NOT NULL AND evaluations.reference IS NULL)"
)
"""Written out, as the conditions of the indexes are: a parameter could be anything."""
