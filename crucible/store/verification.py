"""The rollout's books and the ledger's totals, recomputed and held against what was written down."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.models import Classification
from crucible.rollout.assessment import ALL
from crucible.rollout.audit import broken_links
from crucible.store import encoding, rollout_state
from crucible.store.replay import Replay
from crucible.store.rollout_inputs import (
    UNPLANTED,
    raw_pairs,
    read_causes,
    read_counter,
    read_mutants,
    read_tallies,
)
from crucible.store.rollout_state import EpochSums, closing_faults, read_closing, read_epochs
from crucible.store.tables import COLUMNS, evaluations, let_go, sweep_tallies
from crucible.store.tally import Moves, book_of

_PAGE = 2000
_MOST_FAULTS = 50
_COUNTED = ("submitted", *COLUMNS, "unexpected")

Totals = dict[str, Mapping[str, int]]
"""Columns by sweep."""


class Verification(NamedTuple):
    """What verifying found. ``faults`` are sentences, the first ones only; none means that all holds.

    Of the ``pairs`` the first ``closed`` were verified when the books were closed, and may be gone.
    """

    entries: int
    pairs: int
    faults: tuple[str, ...]
    closed: int = 0

    @property
    def ok(self) -> bool:
        """Whether every decision follows from the raw pairs."""
        return not self.faults


async def verify(connection: AsyncConnection) -> Verification:
    """Replay the evidence pair by pair and hold it against the log, the tallies and the decisions."""
    log = await rollout_state.entries(connection)
    epochs = await read_epochs(connection)
    closing = await read_closing(connection)
    replay = Replay(log, epochs, closing)
    async for raw in raw_pairs(connection, closing.seq):
        replay.take(raw)
    replay.check_decisions()
    replay.check_present(await rollout_state.read_state(connection))
    faults = [*broken_links(log), *closing_faults(closing, log), *replay.faults]
    for number in epochs:
        faults += await _ledger_faults(connection, number)
        faults += await _planting_faults(connection, number, replay.closing().epochs[number])
    faults += await _sweep_faults(connection)
    return Verification(len(log), replay.pairs, tuple(faults[:_MOST_FAULTS]), closing.seq)


async def _planting_faults(connection: AsyncConnection, epoch: int, counted: EpochSums) -> list[str]:
    kept = await read_mutants(connection, epoch)
    faults = []
    if counted.mutants != {kind: (each.planted, each.caught) for kind, each in kept.items()}:
        faults.append(f"epoch {epoch}: the planted faults are not those that the evidence adds up to")
    if counted.unplanted != await read_counter(connection, epoch, UNPLANTED):
        faults.append(f"epoch {epoch}: the pairs since the last planted fault are not those of the evidence")
    return faults


async def _ledger_faults(connection: AsyncConnection, epoch: int) -> list[str]:
    """Where an epoch's sums are not what the ledger's rows and those let go add up to."""
    kept = await read_tallies(connection, epoch)
    counted, causes = Moves(), Counter[str]()
    async for row in _ledger(connection, epoch):
        strata = encoding.route_of(row).strata
        counted.enter(epoch, strata)
        if row.classification is not None:
            counted.move(epoch, strata, None, Classification(row.classification))
        if row.classification == Classification.MISMATCH and row.cause is not None:
            causes[row.cause] += 1
    mismatches_gone = 0
    for row in await connection.execute(select(let_go).where(let_go.c.book == book_of(epoch))):
        counted.enter_many(epoch, row.stratum, {name: getattr(row, name) for name in ("submitted", *COLUMNS)})
        mismatches_gone += row.mismatched if row.stratum == ALL else 0
    found = counted.columns(epoch)
    faults = [
        f"epoch {epoch}, {stratum}: the tally is not what the ledger's rows add up to"
        for stratum in sorted(kept.keys() | found)
        if kept.get(stratum) != found.get(stratum)
    ]
    kept_causes = Counter(await read_causes(connection, epoch))
    # Which causes those had that went is not kept, only how many they were.
    if causes - kept_causes or kept_causes.total() > causes.total() + mismatches_gone:
        faults.append(f"epoch {epoch}: the causes are not those of the ledger's mismatches")
    return faults


async def _ledger(connection: AsyncConnection, epoch: int) -> AsyncIterator[Row[Any]]:
    """An epoch's rows, one stretch of the ledger's index for each classification: a page costs its length."""
    for kind in (None, *Classification):
        after: str | None = ""
        while after is not None:
            rows = (await connection.execute(_page(epoch, kind, after))).all()
            for row in rows:
                yield row
            after = rows[-1].id if rows else None


def _page(epoch: int, kind: Classification | None, after: str) -> Select[Any]:
    columns = ("id", "route", "classification", "cause")
    of_kind = evaluations.c.classification.is_(None) if kind is None else evaluations.c.classification == kind
    return (
        select(*(evaluations.c[name] for name in columns))
        .where(evaluations.c.epoch == epoch, of_kind, evaluations.c.id > after)
        .order_by(evaluations.c.id)
        .limit(_PAGE)
    )


async def _sweep_faults(connection: AsyncConnection) -> list[str]:
    """Where a sweep's totals are not what its rows in the ledger and those let go add up to."""
    columns = (evaluations.c.sweep_id, evaluations.c.classification, evaluations.c.unexpected)
    query = select(*columns, func.count()).where(evaluations.c.sweep_id.is_not(None)).group_by(*columns)
    counted = Moves()
    for sweep_id, classification, unexpected, number in await connection.execute(query):
        counted.enter_sweep(sweep_id, number)
        if classification is not None:
            remarked = number if unexpected else 0
            counted.move_in_sweep(sweep_id, None, Classification(classification), remarked, number)
    for row in await connection.execute(select(let_go).where(let_go.c.book.like("sw-%"))):
        counted.enter_many_in_sweep(row.book, {name: getattr(row, name) for name in _COUNTED})
    kept = {
        row.sweep_id: {name: getattr(row, name) for name in _COUNTED}
        for row in await connection.execute(select(sweep_tallies))
    }
    found = counted.sweeps()
    return [
        f"sweep {sweep_id}: its totals are not what the ledger's rows add up to"
        for sweep_id in sorted(kept.keys() | found)
        if kept.get(sweep_id) != found.get(sweep_id)
    ]
