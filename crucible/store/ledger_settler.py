"""Gives evaluations their columns, inside one transaction."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.models import Classification, Comparison
from crucible.store import encoding, queries
from crucible.store.entries import Settled
from crucible.store.settlement import Settlement
from crucible.store.tables import observations
from crucible.store.tally import Moves

Rows = Mapping[str, Row[Any]]
Observed = Mapping[str, Sequence[encoding.Values]]
"""Rows of observations by evaluation."""


class LedgerSettler:
    """One settlement: ``lock`` and ``settle`` chunk by chunk, then ``finish``."""

    def __init__(self, connection: AsyncConnection, *, on_sqlite: bool) -> None:
        self._connection = connection
        self._on_sqlite = on_sqlite
        self._now = datetime.now(UTC)
        self._moves = Moves()
        self._traffic: Settlement | None = None
        self._done: dict[str, Comparison] = {}
        self._orphaned: list[Comparison] = []

    async def lock(self, ids: Sequence[str]) -> Rows:
        """The ledger rows of ``ids`` that there are, for this transaction alone."""
        if self._traffic is None and await self._connection.scalar(queries.traffic_in(ids)) is not None:
            self._traffic = await Settlement.open(self._connection, self._moves, on_sqlite=self._on_sqlite)
        return {row.id: row for row in await self._connection.execute(queries.lock_rows(ids))}

    async def settle(self, rows: Rows, comparisons: Sequence[Comparison], observed: Observed) -> None:
        """Settle those that have no column yet, in this order, with what was ``observed`` of each."""
        due = []
        for comparison in comparisons:
            row = rows[comparison.evaluation_id]
            if row.classification is not None:
                continue
            taken = await self._taken(row, comparison)
            if taken is None:
                self._orphaned.append(comparison)
            else:
                due.append(taken)
                self._move_in_sweep(row, taken)
        if due:
            await self._write(due, observed)

    async def reclassify(self, comparison: Comparison) -> bool:
        """Classify a mismatch by its re-runs; whether that changed anything."""
        rows = await self.lock([comparison.evaluation_id])
        done = await self._connection.execute(queries.reclassify(), encoding.settlement_values(comparison))
        if done.rowcount != 1:
            return False
        row = rows[comparison.evaluation_id]
        self._move_in_sweep(row, comparison)
        if self._traffic is not None and row.route is not None:
            await self._traffic.retake(row, comparison)
        await self._write_totals()
        return True

    async def finish(self) -> None:
        """Write what follows from the evaluations settled."""
        if self._traffic is not None:
            await self._try_duplicates(self._traffic)
        await self._write_totals()

    def settled(self, given: Sequence[Comparison]) -> Settled:
        """What came of it, for those who gave ``given``."""
        orphaned = {each.evaluation_id for each in self._orphaned}
        kept = (each for each in given if each.evaluation_id not in orphaned)
        comparisons = tuple(self._done.get(each.evaluation_id, each) for each in kept)
        return Settled(len(self._done), comparisons, tuple(self._orphaned))

    def _move_in_sweep(self, row: Row[Any], comparison: Comparison) -> None:
        if row.sweep_id is not None:
            old = None if row.classification is None else Classification(row.classification)
            remarked = int(comparison.unexpected) - int(row.unexpected)
            self._moves.move_in_sweep(row.sweep_id, old, comparison.classification, remarked)

    async def _write_totals(self) -> None:
        if self._traffic is not None:
            await self._traffic.write()
        await self._moves.write(self._connection, on_sqlite=self._on_sqlite)

    async def _taken(self, row: Row[Any], comparison: Comparison) -> Comparison | None:
        if row.route is None or self._traffic is None:
            return comparison
        return await self._traffic.take(row, comparison)

    async def _write(self, due: Sequence[Comparison], observed: Observed) -> None:
        self._done |= {each.evaluation_id: each for each in due}
        values = [encoding.settlement_values(each) | {"now": self._now} for each in due]
        await self._connection.execute(queries.settle(), values)
        seen = [row for each in due for row in observed[each.evaluation_id]]
        if seen:
            await self._connection.execute(queries.new_rows(observations, on_sqlite=self._on_sqlite), seen)

    async def _try_duplicates(self, traffic: Settlement) -> None:
        for evaluation_id in traffic.duplicated:
            values = encoding.settlement_values(self._done[evaluation_id]) | {"now": self._now}
            again = await self._connection.execute(queries.settle(), values)
            traffic.caught_twice(evaluation_id, caught=again.rowcount == 0)
