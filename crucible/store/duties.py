"""Leases of duties: which of several controllers does a duty now, and how far the duty has come.

Leases begin and end by the database's clock, so that clocks of controllers need not agree.
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Float, cast, extract, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from crucible.store.database import Database
from crucible.store.tables import duty_leases

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
