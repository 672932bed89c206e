"""Sums that are kept as evaluations move through the ledger, inside the transactions that move them."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.models import Classification
from crucible.models.sweep import COLUMN_OF
from crucible.rollout.assessment import Columns
from crucible.store.tables import COLUMNS, counters, sweep_tallies, tallies, times

_GROWTH = math.log(1.01)
_LEAST_S = 1e-6


def bucket_of(seconds: float) -> int:
    """The bucket that ``seconds`` falls into; what is below a microsecond falls into that of one."""
    return math.ceil(math.log(max(seconds, _LEAST_S)) / _GROWTH)


def lower_s(bucket: int) -> float:
    """No time in ``bucket`` is below this, in seconds."""
    return math.exp((bucket - 1) * _GROWTH)


def upper_s(bucket: int) -> float:
    """No time in ``bucket`` is above this, in seconds."""
    return math.exp(bucket * _GROWTH)


_COLUMN: Mapping[Classification | None, str] = {None: "waiting", **COLUMN_OF}

Place = tuple[int, str]
"""An epoch, and a stratum or a counter's name in it."""

Time = tuple[int, str, str, int]
"""An epoch, what was timed, the leg, and the bucket of the time."""


class Moves:
    """What is to be added to tallies and counters; written at once, in one order against deadlocks."""

    def __init__(self) -> None:
        self._columns: dict[Place, Counter[str]] = {}
        self._sweeps: dict[str, Counter[str]] = {}
        self._numbers: Counter[Place] = Counter()
        self._times: Counter[Time] = Counter()

    def enter(self, epoch: int, strata: Iterable[str]) -> None:
        """One more evaluation was submitted."""
        for stratum in strata:
            self._columns.setdefault((epoch, stratum), Counter()).update(("submitted", "waiting"))

    def move(
        self, epoch: int, strata: Iterable[str], old: Classification | None, new: Classification
    ) -> None:
        """One evaluation goes from one column to another."""
        for stratum in strata:
            _move(self._columns.setdefault((epoch, stratum), Counter()), old, new)

    def enter_many(self, epoch: int, stratum: str, columns: Mapping[str, int]) -> None:
        """So many more evaluations were submitted, and are in these columns."""
        self._columns.setdefault((epoch, stratum), Counter()).update(columns)

    def enter_sweep(self, sweep_id: str, number: int = 1) -> None:
        """So many more evaluations were submitted for a sweep."""
        self.enter_many_in_sweep(sweep_id, {"submitted": number, "waiting": number})

    def enter_many_in_sweep(self, sweep_id: str, columns: Mapping[str, int]) -> None:
        """So many more evaluations were submitted for a sweep, and are in these columns."""
        self._sweeps.setdefault(sweep_id, Counter()).update(columns)

    def move_in_sweep(
        self,
        sweep_id: str,
        old: Classification | None,
        new: Classification,
        unexpected: int = 0,
        number: int = 1,
    ) -> None:
        """Evaluations of a sweep go from one column to another; ``unexpected`` more of them are remarked."""
        columns = self._sweeps.setdefault(sweep_id, Counter())
        _move(columns, old, new, number)
        columns["unexpected"] += unexpected

    def count(self, epoch: int, name: str, number: int = 1) -> None:
        """So many more of what the counter ``name`` counts."""
        self._numbers[epoch, name] += number

    def time(self, epoch: int, quantity: str, leg: str, seconds: float) -> None:
        """One leg took so long."""
        self._times[epoch, quantity, leg, bucket_of(seconds)] += 1

    def columns(self, epoch: int) -> dict[str, Columns]:
        """What is to be added to each stratum of ``epoch``, as columns."""
        return {
            stratum: Columns(**columns)
            for (number, stratum), columns in self._columns.items()
            if number == epoch
        }

    def sweeps(self) -> dict[str, dict[str, int]]:
        """What is to be added to each sweep, as columns."""
        names = ("submitted", *COLUMNS, "unexpected")
        return {
            sweep_id: {name: columns[name] for name in names} for sweep_id, columns in self._sweeps.items()
        }

    async def write(self, connection: AsyncConnection, *, on_sqlite: bool) -> None:
        """Add it all up in the database."""
        for (epoch, stratum), columns in sorted(self._columns.items()):
            numbers = {name: columns[name] for name in ("submitted", *COLUMNS)}
            await add(connection, tallies, {"epoch": epoch, "stratum": stratum}, numbers, on_sqlite=on_sqlite)
        for sweep_id, numbers in sorted(self.sweeps().items()):
            await add(connection, sweep_tallies, {"sweep_id": sweep_id}, numbers, on_sqlite=on_sqlite)
        for (epoch, name), number in sorted(self._numbers.items()):
            key = {"epoch": epoch, "name": name}
            await add(connection, counters, key, {"number": number}, on_sqlite=on_sqlite)
        await self._write_times(connection, on_sqlite=on_sqlite)

    async def _write_times(self, connection: AsyncConnection, *, on_sqlite: bool) -> None:
        if not self._times:
            return
        fresh = (sqlite.insert if on_sqlite else postgresql.insert)(times)
        key = ("epoch", "quantity", "leg", "bucket")
        added = fresh.on_conflict_do_update(
            index_elements=key, set_={"number": times.c.number + fresh.excluded.number}
        )
        rows = [
            {**dict(zip(key, place, strict=True)), "number": number}
            for place, number in sorted(self._times.items())
        ]
        await connection.execute(added, rows)


def _move(columns: Counter[str], old: Classification | None, new: Classification, number: int = 1) -> None:
    columns[_COLUMN[old]] -= number
    columns[_COLUMN[new]] += number


def book_of(epoch: int) -> str:
    """How the totals of what was let go name an epoch."""
    return f"epoch-{epoch}"


async def add(
    connection: AsyncConnection, into: Table, key: dict[str, Any], numbers: dict[str, int], *, on_sqlite: bool
) -> None:
    """Add ``numbers`` to the row ``key``, which may not be there yet."""
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
