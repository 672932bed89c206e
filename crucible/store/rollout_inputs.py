"""Everything that gates decide on, read in one transaction."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.evidence import rank_bounds
from crucible.models import Classification
from crucible.rollout.epoch import Epoch
from crucible.rollout.inputs import Columns, EpochInputs, LegTimes, MutantCount, NoiseCount
from crucible.store.queries import ledger_rows
from crucible.store.rollout_state import newest_seq
from crucible.store.rollout_tables import COLUMNS, counters, detectors, evidence, tallies
from crucible.store.tables import evaluations, observations

NOISE = ("reruns", "only_celery", "only_legacy")
_MOST_CAUSES = 20


async def read_inputs(connection: AsyncConnection, epoch: Epoch) -> EpochInputs:
    """What was counted in ``epoch`` until now."""
    numbers = await _counters(connection, epoch.number)
    waiting = and_(evaluations.c.epoch == epoch.number, evaluations.c.classification.is_(None))
    oldest = datetime.now(UTC) - timedelta(seconds=epoch.key.policy.patience_s)
    mismatch = and_(
        evaluations.c.epoch == epoch.number, evaluations.c.classification == Classification.MISMATCH
    )
    return EpochInputs(
        epoch=epoch.number,
        seq=await newest_seq(connection),
        strata=await read_tallies(connection, epoch.number),
        overdue=await _number(connection, and_(waiting, evaluations.c.submitted_at < oldest)),
        unconfirmed=await _number(connection, and_(mismatch, evaluations.c.reruns == 0)),
        mutants=await _mutants(connection, epoch.number),
        pairs_since_mutant=await _pairs_since_mutant(connection, epoch.number),
        noise=NoiseCount(**{name: numbers.get(f"noise:{name}", 0) for name in NOISE}),
        rule_uses={
            name.removeprefix("rule:"): number for name, number in numbers.items() if name.startswith("rule:")
        },
        execution=await _times(connection, epoch, "duration_s"),
        waiting_time=await _times(connection, epoch, "waited_s"),
        causes=await _causes(connection, mismatch),
    )


async def read_tallies(connection: AsyncConnection, epoch: int) -> dict[str, Columns]:
    """The ledger of each stratum of ``epoch``."""
    rows = await connection.execute(
        select(tallies).where(tallies.c.epoch == epoch).order_by(tallies.c.stratum)
    )
    return {
        row.stratum: Columns(**{name: getattr(row, name) for name in ("submitted", *COLUMNS)}) for row in rows
    }


def random_reference() -> Select[tuple[str]]:
    """One matched evaluation of traffic, drawn at random, unless a sentinel from it has differed."""
    sentinel = evaluations.alias("sentinel")
    differed = exists().where(
        sentinel.c.reference == evaluations.c.id,
        sentinel.c.classification.in_((Classification.MISMATCH, Classification.NONDETERMINISTIC)),
    )
    return (
        select(evaluations.c.id)
        .where(
            evaluations.c.classification == Classification.MATCH,
            evaluations.c.epoch.is_not(None),
            evaluations.c.reference.is_(None),
            ~differed,
        )
        .order_by(func.random())
        .limit(1)
    )


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
    return (
        select(evaluations.c.id)
        .where(
            evaluations.c.epoch.is_not(None),
            evaluations.c.classification == Classification.MISMATCH,
            evaluations.c.reruns == 0,
        )
        .order_by(evaluations.c.id)
        .limit(limit)
    )


async def read_detectors(connection: AsyncConnection, epoch: int) -> dict[str, float]:
    """The logarithm of each detector's statistic, by stratum."""
    query = select(detectors.c.stratum, detectors.c.log_m).where(detectors.c.epoch == epoch)
    return {row.stratum: row.log_m for row in await connection.execute(query.order_by(detectors.c.stratum))}


async def _counters(connection: AsyncConnection, epoch: int) -> Mapping[str, int]:
    rows = await connection.execute(
        select(counters.c.name, counters.c.number).where(counters.c.epoch == epoch)
    )
    return {row.name: row.number for row in rows}


async def _number(connection: AsyncConnection, condition: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(evaluations).where(condition)
    return await connection.scalar(query) or 0


async def _mutants(connection: AsyncConnection, epoch: int) -> dict[str, MutantCount]:
    rows = await connection.execute(
        select(evidence.c.mutant, evidence.c.caught, func.count().label("number"))
        .where(evidence.c.epoch == epoch, evidence.c.mutant.is_not(None))
        .group_by(evidence.c.mutant, evidence.c.caught)
    )
    found: dict[str, MutantCount] = {}
    for row in rows:
        before = found.get(row.mutant, MutantCount())
        caught = row.number if row.caught else 0
        found[row.mutant] = MutantCount(planted=before.planted + row.number, caught=before.caught + caught)
    return found


async def _pairs_since_mutant(connection: AsyncConnection, epoch: int) -> int:
    of_epoch = evidence.c.epoch == epoch
    newest = select(func.max(evidence.c.seq)).where(of_epoch, evidence.c.mutant.is_not(None))
    last = await connection.scalar(newest) or 0
    query = select(func.count()).select_from(evidence).where(of_epoch, evidence.c.seq > last)
    return await connection.scalar(query) or 0


async def _causes(connection: AsyncConnection, mismatch: ColumnElement[bool]) -> dict[str, int]:
    number = func.count().label("number")
    query = (
        select(evaluations.c.cause, number)
        .where(mismatch, evaluations.c.cause.is_not(None))
        .group_by(evaluations.c.cause)
        .order_by(number.desc(), evaluations.c.cause)
        .limit(_MOST_CAUSES)
    )
    return {row.cause: row.number for row in await connection.execute(query)}


async def _times(connection: AsyncConnection, epoch: Epoch, column: str) -> LegTimes:
    """The values at the ranks that bound both legs' p95, of the pairs that both legs ran."""
    pairs = await connection.scalar(_pairs(epoch.number, column).with_only_columns(func.count())) or 0
    bounds = rank_bounds(pairs, alpha=epoch.key.policy.alpha)
    return LegTimes(
        pairs=pairs,
        legacy_low=await _at_rank(connection, epoch.number, column, "legacy", bounds.lower),
        celery_high=await _at_rank(connection, epoch.number, column, "celery", bounds.upper),
    )


async def _at_rank(
    connection: AsyncConnection, epoch: int, column: str, leg: str, rank: int | None
) -> float | None:
    if rank is None:
        return None
    value = _LEGS[leg].c[column]
    query = _pairs(epoch, column).with_only_columns(value).order_by(value).offset(rank - 1).limit(1)
    return await connection.scalar(query)


_LEGS = {"legacy": observations.alias("legacy"), "celery": observations.alias("celery")}


def _pairs(epoch: int, column: str) -> Select[Any]:
    legacy, celery = _LEGS["legacy"], _LEGS["celery"]
    return (
        select(legacy.c[column])
        .select_from(evaluations)
        .join(legacy, _is_first(legacy, "legacy"))
        .join(celery, _is_first(celery, "celery"))
        .where(
            evaluations.c.epoch == epoch,
            evaluations.c.reference.is_(None),
            legacy.c[column].is_not(None),
            celery.c[column].is_not(None),
        )
    )


def _is_first(side: Any, leg: str) -> ColumnElement[bool]:
    return and_(side.c.evaluation_id == evaluations.c.id, side.c.leg == leg, side.c.run == 0)
