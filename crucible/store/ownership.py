"""Who has what in hand: owners of evaluations and sweeps, and leases of duties.

An owner is a flow host. Whether it lives is not known here; taking from one that does is harmless, since
whoever settles an evaluation first settles it. Leases of duties begin and end by the database's clock, so
that clocks of controllers need not agree.
"""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Float, Select, Table, cast, extract, func, select, union, update
from sqlalchemy.dialects import postgresql, sqlite

from crucible.store.database import Database
from crucible.store.entries import Ticket
from crucible.store.tables import duty_leases, evaluations, sweeps

CRASHED = "crashed"
"""Stands in the place of a verdict where the process that ran a sweep ended before it had one."""

CANCELLED = "cancelled"
"""The same where a sweep was cancelled, or failed and its rest was settled so."""

NOT_SWEPT = "not swept"
"""The same where there was nothing that could be swept."""

Owner = str | None
"""Null: entered by nobody who would go on with it."""


class OwnershipStore:
    """That part of the store; it raises as ``Store`` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owners(self) -> set[Owner]:
        """Those who have an evaluation without column or a sweep without end in hand."""
        of_evaluations = select(evaluations.c.owner).where(evaluations.c.classification.is_(None))
        of_sweeps = select(sweeps.c.owner).where(sweeps.c.finished_at.is_(None))
        async with self._database.read() as connection:
            return set(await connection.scalars(union(of_evaluations, of_sweeps)))

    async def in_hand(self, owner: Owner, before: datetime, limit: int) -> list[Ticket]:
        """At most ``limit`` open evaluations of ``owner`` submitted before a moment, oldest first."""
        query = _open_of(owner).where(evaluations.c.submitted_at < before).limit(limit)
        async with self._database.read() as connection:
            return [Ticket(row.id, row.name) for row in await connection.execute(query)]

    async def take_over(self, owner: Owner, by: str, limit: int) -> list[Ticket]:
        """Put at most ``limit`` open evaluations of ``owner`` into the hands of ``by``, oldest first.

        Of two who take at the same time each gets others.
        """
        async with self._database.write() as connection:
            query = _open_of(owner).limit(limit).with_for_update(skip_locked=True)
            found = [Ticket(row.id, row.name) for row in await connection.execute(query)]
            taken = update(evaluations).where(evaluations.c.id.in_([each.id for each in found]))
            await connection.execute(taken.values(owner=by))
        return found

    async def end_sweeps(self, owner: Owner) -> list[str]:
        """Mark the sweeps of ``owner`` that have no end as crashed, and return their ids.

        One that comes back and finishes its sweep after all puts its report in the place of that.
        """
        return await self._end_sweeps(_is(sweeps, owner), CRASHED)

    async def end_sweep(self, sweep_id: str, verdict: str) -> None:
        """Mark a sweep as ended by ``verdict``, or a word in its place; one that has an end keeps that."""
        await self._end_sweeps(sweeps.c.id == sweep_id, verdict)

    async def _end_sweeps(self, which: ColumnElement[bool], verdict: str) -> list[str]:
        ended = update(sweeps).where(which, sweeps.c.finished_at.is_(None))
        ended = ended.values(finished_at=datetime.now(UTC), verdict=verdict)
        async with self._database.write() as connection:
            return list(await connection.scalars(ended.returning(sweeps.c.id)))


def _open_of(owner: Owner) -> Select[tuple[str, str]]:
    return (
        select(evaluations.c.id, evaluations.c.name)
        .where(evaluations.c.classification.is_(None), _is(evaluations, owner))
        .order_by(evaluations.c.id)
    )


def _is(table: Table, owner: Owner) -> ColumnElement[bool]:
    return table.c.owner.is_(None) if owner is None else table.c.owner == owner


_JULIAN_DAY_OF_1970 = 2440587.5
_DAY_S = 86400.0


class DutyStore:
    """That part of the store; it raises as ``Store`` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, duties: Collection[str], owner: str, lease_s: float) -> set[str]:
        """Take or renew the leases of ``duties`` for ``lease_s`` seconds; returns what ``owner`` has now.

        A lease that another owner has is left alone until it ends. Of two who ask at once one gets it.
        """
        now = self._now()
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        # In one order for all, or two who take the same rows would wait for each other.
        rows = [{"duty": duty, "owner": owner, "until": now + lease_s} for duty in sorted(duties)]
        new = insert(duty_leases).values(rows)
        taken = new.on_conflict_do_update(
            index_elements=[duty_leases.c.duty],
            set_={"owner": new.excluded.owner, "until": new.excluded.until},
            where=(duty_leases.c.owner == owner) | (duty_leases.c.until <= now),
        )
        async with self._database.write() as connection:
            return set(await connection.scalars(taken.returning(duty_leases.c.duty)))

    async def give_up(self, owner: str) -> None:
        """End all leases of ``owner``; checkpoints stay."""
        ended = update(duty_leases).where(duty_leases.c.owner == owner).values(owner=None, until=0.0)
        async with self._database.write() as connection:
            await connection.execute(ended)

    async def checkpoint(self, duty: str) -> str | None:
        """How far ``duty`` has come, in its own words; null when it was never noted."""
        async with self._database.read() as connection:
            return await connection.scalar(select(duty_leases.c.checkpoint).where(duty_leases.c.duty == duty))

    async def save_checkpoint(self, duty: str, owner: str, checkpoint: str) -> bool:
        """Note how far ``duty`` has come; false, and nothing is noted, unless ``owner`` has its lease."""
        held = (duty_leases.c.owner == owner) & (duty_leases.c.until > self._now())
        saved = update(duty_leases).where(duty_leases.c.duty == duty, held).values(checkpoint=checkpoint)
        async with self._database.write() as connection:
            return (await connection.execute(saved)).rowcount == 1

    def _now(self) -> ColumnElement[float]:
        """Unix seconds by the database's clock, which goes on within a transaction."""
        if self._database.is_sqlite:
            return (func.julianday("now", type_=Float) - _JULIAN_DAY_OF_1970) * _DAY_S
        return cast(extract("epoch", func.clock_timestamp()), Float)
