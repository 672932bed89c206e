"""How the old goes: its evidence is verified and added up first, its evaluations go in small steps then."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, Update, and_, delete, func, not_, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.errors import StoreError
from crucible.ids import first_id_at, made_at
from crucible.models import Classification
from crucible.models.frozen import Frozen
from crucible.rollout.assessment import ALL
from crucible.rollout.epoch import ITSELF
from crucible.store import encoding, rollout_state
from crucible.store.database import Database
from crucible.store.replay import Replay
from crucible.store.rollout_inputs import DIFFERED, MATCHED_TRAFFIC, UNCONFIRMED, raw_pairs
from crucible.store.rollout_state import CLOSED, Closing, Reason, read_closing, read_state
from crucible.store.tables import (
    REVISION,
    evaluation_tags,
    evaluations,
    evidence,
    let_go,
    observations,
    retention,
    spans,
    sweeps,
)
from crucible.store.tally import Moves, add, book_of
from crucible.telemetry.spans import trace_id_of

REFERENCES_KEPT = 1000
"""So many of the newest pairs of traffic that agreed stay, however old: sentinels are made of them."""

_AT_ONCE = 500
_CLOSED_AT_ONCE = 50_000
_BREATH, _BREATH_S = 10, 0.005
"""Pairs after which others of this process get their turn, and for how long at least."""


class LetGo(NamedTuple):
    """One step: how many evaluations went, and where the next step goes on; null when there is none."""

    number: int
    after_id: str | None


class RetentionStore:
    """That part of the store; it raises as ``Store`` does. Several may do this at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_due(self, every: timedelta) -> bool:
        """Whether nobody has begun within ``every``; of all who ask at once one is told so."""
        now = datetime.now(UTC)
        due = or_(retention.c.ran_at.is_(None), retention.c.ran_at <= now - every)
        async with self._database.write() as connection:
            return (await connection.execute(update(retention).where(due).values(ran_at=now))).rowcount == 1

    async def close(self, before: datetime) -> int:
        """Verify the oldest pairs not closed yet, of what was settled before a moment, and add them up.

        Returns how many those were, at most fifty thousand. Raises ``StoreError`` where they do not verify:
        what contradicts the books is not let go.
        """
        # What comes in meanwhile is closed another time: its decisions are not in the log that is read here.
        async with self._database.snapshot() as connection:
            closing = await read_closing(connection)
            found = await _replayed(connection, closing, before)
        async with self._database.write() as connection:
            state = await read_state(connection, lock=True)
            present = await read_closing(connection, lock=True)
            await connection.execute(_allow(before))
            if present != closing:
                return 0  # somebody else was quicker
            if found.seq > closing.seq:
                done = {"body": found.model_dump_json(), "evidence_seq": found.seq}
                await connection.execute(update(retention).values(done))
                what = f"evidence {closing.seq + 1} to {found.seq} verified and closed"
                why = Reason(ITSELF, "close", what, {CLOSED: found.attested})
                await rollout_state.log(connection, state.rollout, state.rollout, why, found.seq)
        return found.seq - closing.seq

    async def let_go(self, before: datetime, after_id: str = "") -> LetGo:
        """Delete at most five hundred evaluations settled before a moment, with all that belongs to them.

        ``after_id`` is where the step before ended. What has no column yet stays, what is no evidence yet but
        will be, what has not been closed, and what belongs to a sweep that has not ended as long ago.
        """
        async with self._database.write() as connection:
            closed = (await read_closing(connection, lock=True)).seq
            query = _old(before, after_id, closed, await _oldest_reference(connection))
            rows = (await connection.execute(query)).all()
            if rows:
                await _add_up(connection, rows, on_sqlite=self._database.is_sqlite)
                await _delete(connection, rows)
        return LetGo(len(rows), rows[-1].id if len(rows) == _AT_ONCE else None)


def _allow(before: datetime) -> Update:
    """Have the database allow that what was settled by then goes; what it allows already stays allowed."""
    is_later = or_(retention.c.settled_before.is_(None), retention.c.settled_before < before)
    return update(retention).where(is_later).values(settled_before=before)


async def _replayed(connection: AsyncConnection, closing: Closing, before: datetime) -> Closing:
    """The books up to the first pair that is not old, or so many pairs further."""
    log = await rollout_state.entries(connection)
    upto = await _upto(connection, closing.seq, before)
    decided = [each for each in log if closing.seq <= each.evidence_seq <= upto]
    replay = Replay(decided, await rollout_state.read_epochs(connection), closing)
    async for raw in raw_pairs(connection, closing.seq):
        if raw.row.seq > upto:
            break
        replay.take(raw)
        if replay.pairs % _BREATH == 0:
            await asyncio.sleep(_BREATH_S)
    replay.check_decisions()
    if replay.faults:
        raise StoreError(
            f"the books do not hold, so nothing of them is let go: {replay.faults[0]}; "
            "see crucible rollout verify"
        )
    return replay.closing()


async def _upto(connection: AsyncConnection, after: int, before: datetime) -> int:
    """The position before that of the first pair that is not old, at most so many behind ``after``."""
    joined = evidence.join(evaluations, evaluations.c.id == evidence.c.evaluation_id)
    last = after + _CLOSED_AT_ONCE
    young = (
        select(evidence.c.seq)
        .select_from(joined)
        .where(evidence.c.seq > after, evidence.c.seq <= last, evaluations.c.settled_at >= before)
        .order_by(evidence.c.seq)
        .limit(1)
    )
    first_young = await connection.scalar(young)
    return last if first_young is None else first_young - 1


async def _oldest_reference(connection: AsyncConnection) -> str:
    """The id from which on pairs of traffic that agreed stay."""
    newest = select(evaluations.c.id).where(MATCHED_TRAFFIC).order_by(evaluations.c.id.desc())
    return await connection.scalar(newest.offset(REFERENCES_KEPT - 1).limit(1)) or ""


def _old(before: datetime, after_id: str, closed: int, reference: str) -> Select[Any]:
    columns = ("id", "sweep_id", "epoch", "route", "classification", "unexpected", "traceparent")
    joined = evaluations.outerjoin(evidence, evidence.c.evaluation_id == evaluations.c.id)
    return (
        select(*(evaluations.c[name] for name in columns))
        .select_from(joined.outerjoin(sweeps, sweeps.c.id == evaluations.c.sweep_id))
        .where(
            evaluations.c.id > after_id,
            evaluations.c.id < first_id_at("ev-", before),
            evaluations.c.settled_at < before,
            or_(evidence.c.seq.is_(None), evidence.c.seq <= closed),
            or_(evaluations.c.sweep_id.is_(None), sweeps.c.finished_at < before),
            text(f"NOT {UNCONFIRMED.text}"),
            # While it is there, its reference is not drawn again.
            not_(and_(evaluations.c.reference.is_not(None), evaluations.c.classification.in_(DIFFERED))),
            not_(and_(evaluations.c.id >= reference, MATCHED_TRAFFIC)),
        )
        .order_by(evaluations.c.id)
        .limit(_AT_ONCE)
        .with_for_update(of=evaluations)
    )


async def _add_up(connection: AsyncConnection, rows: Sequence[Row[Any]], *, on_sqlite: bool) -> None:
    """Keep what goes as totals: by stratum of its epoch, by sweep, or in one sum where it has neither."""
    gone = Moves()
    for row in rows:
        kind = Classification(row.classification)
        if row.epoch is not None:
            strata = encoding.route_of(row).strata
            gone.enter(row.epoch, strata)
            gone.move(row.epoch, strata, None, kind)
        if row.sweep_id is not None or row.epoch is None:
            gone.enter_sweep(row.sweep_id or _NEITHER)
            gone.move_in_sweep(row.sweep_id or _NEITHER, None, kind, int(row.unexpected))
    for epoch in sorted({row.epoch for row in rows if row.epoch is not None}):
        for stratum, columns in sorted(gone.columns(epoch).items()):
            key = {"book": book_of(epoch), "stratum": stratum}
            await add(connection, let_go, key, {**columns.model_dump(), "unexpected": 0}, on_sqlite=on_sqlite)
    for sweep_id, numbers in sorted(gone.sweeps().items()):
        await add(connection, let_go, {"book": sweep_id, "stratum": ""}, numbers, on_sqlite=on_sqlite)


_NEITHER = "neither"
"""The book of what was neither traffic nor of a sweep."""


async def _delete(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
    ids = [row.id for row in rows]
    traces = [trace_id for row in rows if (trace_id := trace_id_of(row.traceparent))]
    if traces:
        await connection.execute(delete(spans).where(spans.c.trace_id.in_(traces)))
    of_evaluation: tuple[ColumnElement[str], ...] = (
        evaluation_tags.c.evaluation_id,
        observations.c.evaluation_id,
        evidence.c.evaluation_id,
        evaluations.c.id,
    )
    for column in of_evaluation:
        await connection.execute(delete(column.table).where(column.in_(ids)))


_BETWEEN_STEPS_S = 0.05


class Pruned(NamedTuple):
    """How many pairs were verified and closed, and how many evaluations went."""

    closed: int
    let_go: int


async def prune(
    retention: RetentionStore, before: datetime, on_step: Callable[[Pruned], None] | None = None
) -> Pruned:
    """Let go what was settled before a moment; raises as ``RetentionStore.close`` does, keeping what is done.

    ``on_step`` is told the sums so far.
    """
    done = Pruned(0, 0)
    while closed := await retention.close(before):
        done = _told(done._replace(closed=done.closed + closed), on_step)
    after_id: str | None = ""
    while after_id is not None:
        step = await retention.let_go(before, after_id)
        after_id = step.after_id
        done = _told(done._replace(let_go=done.let_go + step.number), on_step)
        await asyncio.sleep(_BETWEEN_STEPS_S)
    return done


def _told(done: Pruned, on_step: Callable[[Pruned], None] | None) -> Pruned:
    if on_step is not None:
        on_step(done)
    return done


class TableSize(Frozen):
    """One table: its rows, which Postgres only estimates, and its bytes with and without indexes."""

    name: str
    rows: int
    bytes: int
    index_bytes: int


class StoreInfo(Frozen):
    """A store at one moment. ``tables`` is empty on SQLite, which knows the size of its file alone.

    ``oldest`` is when the oldest evaluation was submitted; ``closed`` is the position up to which the
    evidence was verified and may be gone; ``let_go`` counts the evaluations that went.
    """

    database: str
    revision: str
    bytes: int
    evaluations: int
    oldest: datetime | None
    closed: int
    let_go: int
    last_pruned: datetime | None
    tables: tuple[TableSize, ...] = ()


async def measured(database: Database) -> StoreInfo:
    """The store's measures; on SQLite its rows are counted one by one."""
    async with database.read() as connection:
        tables = () if database.is_sqlite else await _tables(connection)
        first = await connection.scalar(select(func.min(evaluations.c.id)))
        return StoreInfo(
            database="sqlite" if database.is_sqlite else "postgresql",
            revision=REVISION,
            bytes=await _bytes(connection, on_sqlite=database.is_sqlite),
            evaluations=await _evaluations(connection, tables),
            oldest=None if first is None else made_at(first),
            closed=(await read_closing(connection)).seq,
            let_go=await _gone(connection),
            last_pruned=await connection.scalar(select(retention.c.ran_at)),
            tables=tables,
        )


async def _gone(connection: AsyncConnection) -> int:
    """Traffic is in the stratum of all and in others, a sweep in one row without a stratum."""
    query = select(func.sum(let_go.c.submitted)).where(let_go.c.stratum.in_(("", ALL)))
    return int(await connection.scalar(query) or 0)


async def _bytes(connection: AsyncConnection, *, on_sqlite: bool) -> int:
    if not on_sqlite:
        return int(await connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    pages = await connection.scalar(text("PRAGMA page_count")) or 0
    return int(pages) * int(await connection.scalar(text("PRAGMA page_size")) or 0)


async def _evaluations(connection: AsyncConnection, tables: tuple[TableSize, ...]) -> int:
    known = next((each.rows for each in tables if each.name == evaluations.name), None)
    if known is not None:
        return known
    return await connection.scalar(select(func.count()).select_from(evaluations)) or 0


async def _tables(connection: AsyncConnection) -> tuple[TableSize, ...]:
    query = text(
        "SELECT relname AS name, greatest(reltuples, 0)::bigint AS rows,"
        " pg_table_size(oid) AS bytes, pg_indexes_size(oid) AS index_bytes FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        " ORDER BY pg_total_relation_size(oid) DESC"
    )
    return tuple(TableSize(**row._mapping) for row in await connection.execute(query))  # noqa: SLF001
