"""Sums that are kept as evaluations move through the ledger, inside the transactions that move them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.models import Classification
from crucible.rollout.inputs import Columns
from crucible.store.rollout_tables import COLUMNS, counters, tallies

_COLUMN: Mapping[Classification | None, str] = {
    None: "waiting",
    Classification.MATCH: "matched",
    Classification.MISMATCH: "mismatched",
    Classification.NONDETERMINISTIC: "nondeterministic",
    Classification.UNPAIRED: "unpaired",
    Classification.CANCELLED: "cancelled",
    Classification.NOT_SAMPLED: "not_sampled",
}

Place = tuple[int, str]
"""An epoch, and a stratum or a counter's name in it."""


class Moves:
    """What is to be added to tallies and counters; written at once, in one order against deadlocks."""

    def __init__(self) -> None:
        self._columns: dict[Place, Counter[str]] = {}
        self._numbers: Counter[Place] = Counter()

    def enter(self, epoch: int, strata: Iterable[str]) -> None:
        """One more evaluation was submitted."""
        for stratum in strata:
            self._columns.setdefault((epoch, stratum), Counter()).update(("submitted", "waiting"))

    def move(
        self, epoch: int, strata: Iterable[str], old: Classification | None, new: Classification
    ) -> None:
        """One evaluation goes from one column to another."""
        for stratum in strata:
            columns = self._columns.setdefault((epoch, stratum), Counter())
            columns[_COLUMN[old]] -= 1
            columns[_COLUMN[new]] += 1

    def count(self, epoch: int, name: str) -> None:
        """One more of what the counter ``name`` counts."""
        self._numbers[epoch, name] += 1

    def columns(self, epoch: int) -> dict[str, Columns]:
        """What is to be added to each stratum of ``epoch``, as columns."""
        return {
            stratum: Columns(**columns)
            for (number, stratum), columns in self._columns.items()
            if number == epoch
        }

    async def write(self, connection: AsyncConnection, *, on_sqlite: bool) -> None:
        """Add everything; the database refuses a tally that would not add up."""
        for (epoch, stratum), columns in sorted(self._columns.items()):
            key = {"epoch": epoch, "stratum": stratum}
            await _add(
                connection,
                tallies,
                key,
                {name: columns[name] for name in ("submitted", *COLUMNS)},
                on_sqlite=on_sqlite,
            )
        for (epoch, name), number in sorted(self._numbers.items()):
            await _add(
                connection, counters, {"epoch": epoch, "name": name}, {"number": number}, on_sqlite=on_sqlite
            )


async def _add(
    connection: AsyncConnection, into: Table, key: dict[str, Any], numbers: dict[str, int], *, on_sqlite: bool
) -> None:
    # An upsert would check the row to be inserted too, which has a negative column when something moves on.
    where = [into.c[name] == value for name, value in key.items()]
    added = {name: into.c[name] + number for name, number in numbers.items() if number}
    if added:
        done = await connection.execute(into.update().where(*where).values(added))
        if done.rowcount:
            return
    sums = {name: into.c[name] + number for name, number in numbers.items()}
    await _upsert(connection, into, key | numbers, list(key), sums, on_sqlite=on_sqlite)


async def put(
    connection: AsyncConnection, into: Table, key: dict[str, Any], values: dict[str, Any], *, on_sqlite: bool
) -> None:
    """Have the row ``key`` hold ``values``, whether it is there already or not."""
    await _upsert(connection, into, key | values, list(key), values, on_sqlite=on_sqlite)


async def _upsert(
    connection: AsyncConnection,
    into: Table,
    row: dict[str, Any],
    key: list[str],
    changes: dict[str, Any],
    *,
    on_sqlite: bool,
) -> None:
    fresh = (sqlite.insert if on_sqlite else postgresql.insert)(into)
    await connection.execute(fresh.values(row).on_conflict_do_update(index_elements=key, set_=changes))
