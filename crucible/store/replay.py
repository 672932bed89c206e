"""The rollout's books, recomputed from raw observations and held against what was written down then."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.compare import MutantKind, compare
from crucible.confirm import confirmed
from crucible.evidence import Detector
from crucible.models import Classification, Comparison
from crucible.rollout.assessment import ALL, Assessment, EpochInputs
from crucible.rollout.epoch import AuditEntry, Epoch, broken_links, canonical
from crucible.rollout.gates import assess
from crucible.rollout.stage import Rollout
from crucible.store import encoding, rollout_state
from crucible.store.pairing import Detectors, Pair, advance, grounds, pair_of, planted_in
from crucible.store.rollout_inputs import (
    UNPLANTED,
    RawPair,
    raw_pairs,
    read_causes,
    read_counter,
    read_mutants,
    read_tallies,
)
from crucible.store.rollout_state import Closing, EpochSums, closing_faults, read_closing, read_epochs
from crucible.store.tables import COLUMNS, evaluations, let_go, sweep_tallies
from crucible.store.tally import Moves, book_of


def assessed(inputs: EpochInputs, rollout: Rollout, epoch: Epoch, since_seq: int, today: date) -> Assessment:
    """What the gates of ``epoch`` say of ``inputs``: one function for deciding and for verifying."""
    key = epoch.key
    return assess(
        inputs, rollout, key.policy, budgets=key.budgets, expired=key.expired(today), since_seq=since_seq
    )


class Replay:
    """The state of a replay after some pairs: ``closing`` and those it was shown since.

    Of ``log`` the decisions made from there on are held against the pairs; those before were when the books
    were closed.
    """

    def __init__(self, log: Sequence[AuditEntry], epochs: Mapping[int, Epoch], closing: Closing) -> None:
        self._log = log
        self._epochs = epochs
        self._since = closing.seq
        self.faults: list[str] = []
        self.pairs = closing.seq
        self._detectors: dict[int, Detectors] = {}
        self._counted: dict[int, dict[str, Counter[bool]]] = {}
        self._mutants: dict[int, Counter[tuple[str, bool]]] = {number: Counter() for number in epochs}
        self._unplanted: Counter[int] = Counter()
        self._alarms: dict[int, dict[str, Any]] = {}
        self._due = {
            (each.evidence_seq, each.grounds["inputs"]["epoch"]) for each in log if "inputs" in each.grounds
        }
        self._totals_at: dict[tuple[int, int], dict[str, tuple[int, int]]] = {}
        for number, sums in closing.epochs.items():
            self._go_on_from(number, sums)
        self._note_totals()

    def closing(self) -> Closing:
        """All pairs so far, added up."""
        return Closing(seq=self.pairs, epochs={number: self._sums(number) for number in self._epochs})

    def take(self, raw: RawPair) -> None:
        """One more pair, in the order of the evidence."""
        self.pairs += 1
        row = raw.row
        if row.seq != self.pairs:
            self.faults.append(f"evidence {self.pairs} is missing: {row.seq} follows {self.pairs - 1}")
            self.pairs = row.seq
        epoch = self._epochs[row.epoch]
        judged = _judged(raw, epoch)
        if judged.classification != row.classification:
            self._wrong(
                row, f"is {judged.classification} by its raw pairs, {row.classification} in the ledger"
            )
        pair = pair_of(encoding.route_of(row), judged)
        if (pair.mismatch, pair.against_celery) != (row.mismatch, row.against_celery):
            self._wrong(row, f"counted as mismatch={row.mismatch}, against_celery={row.against_celery}")
        self._check_mutant(raw, judged, epoch)
        self._count(pair)
        self._alarm(pair, row, epoch)
        self._note_totals()

    def check_decisions(self) -> None:
        """Hold each entry of the log against what the pairs before it say."""
        for entry in self._log:
            if "alarmed" in entry.grounds and entry.evidence_seq > self._since:
                found = self._alarms.get(entry.evidence_seq)
                if found is None or canonical(found) != canonical(entry.grounds):
                    self.faults.append(f"audit entry {entry.seq}: no such alarm follows from the raw pairs")
            if "inputs" in entry.grounds:
                self._check_assessment(entry)

    def check_present(self, state: rollout_state.State) -> None:
        """Hold the present state against the last entry."""
        if self._log and self._log[-1].after != state.rollout:
            self.faults.append("the rollout's state is not what the last audit entry left")

    def _check_assessment(self, entry: AuditEntry) -> None:
        inputs = EpochInputs.model_validate(entry.grounds["inputs"])
        before = entry.before
        today = date.fromisoformat(entry.grounds["today"])
        # A change of rules is assessed under those that are to be.
        before = before.model_copy(update={"rules": entry.after.rules})
        again = assessed(inputs, before, self._epochs[before.epoch], entry.grounds["since_seq"], today)
        if canonical(again.model_dump(mode="json")) != canonical(entry.grounds["assessment"]):
            self.faults.append(f"audit entry {entry.seq}: its gates do not follow from its numbers")
        counted = {name: (each.pairs, each.mismatches) for name, each in inputs.strata.items() if each.pairs}
        totals = self._totals_at.get((entry.evidence_seq, inputs.epoch), {})
        recent = entry.evidence_seq >= self._since
        if recent and inputs.unconfirmed == 0 and counted != totals:
            self.faults.append(f"audit entry {entry.seq}: its counts do not follow from the raw pairs")

    def _go_on_from(self, epoch: int, sums: EpochSums) -> None:
        self._unplanted[epoch] = sums.unplanted
        settings = self._epochs[epoch].key.detector
        self._detectors[epoch] = {
            stratum: Detector(settings, log_m) for stratum, log_m in sums.detectors.items()
        }
        self._counted[epoch] = {
            stratum: Counter({True: mismatches, False: pairs - mismatches})
            for stratum, (pairs, mismatches) in sums.pairs.items()
        }
        for kind, (planted, caught) in sums.mutants.items():
            self._mutants[epoch].update({(kind, True): caught, (kind, False): planted - caught})

    def _sums(self, epoch: int) -> EpochSums:
        mutants = self._mutants[epoch]
        return EpochSums(
            pairs=self._totals(epoch),
            detectors={stratum: each.log_m for stratum, each in self._detectors.get(epoch, {}).items()},
            mutants={
                kind: (mutants[kind, True] + mutants[kind, False], mutants[kind, True]) for kind, _ in mutants
            },
            unplanted=self._unplanted[epoch],
        )

    def _note_totals(self) -> None:
        for seq, number in self._due:
            if seq == self.pairs:
                self._totals_at[seq, number] = self._totals(number)

    def _count(self, pair: Pair) -> None:
        counted = self._counted.setdefault(pair.epoch, {})
        for stratum in pair.strata:
            counted.setdefault(stratum, Counter())[pair.mismatch] += 1

    def _totals(self, epoch: int) -> dict[str, tuple[int, int]]:
        return {
            stratum: (counted.total(), counted[True])
            for stratum, counted in self._counted.get(epoch, {}).items()
        }

    def _check_mutant(self, raw: RawPair, judged: Comparison, epoch: Epoch) -> None:
        row = raw.row
        if row.mutant is None:
            self._unplanted[row.epoch] += 1
        else:
            self._unplanted[row.epoch] = 0
            self._mutants[row.epoch][row.mutant, bool(row.caught)] += 1
        planted = None
        if row.reference is None:
            planted = planted_in(epoch.key, judged, encoding.evaluation_of(row))
        kind = None if planted is None else planted.kind.value
        if kind != row.mutant:
            self._wrong(row, f"carries the fault {row.mutant}; {kind} follows from its id")
        elif (
            planted is not None and planted.kind is not MutantKind.DUPLICATE and planted.caught != row.caught
        ):
            self._wrong(row, f"its planted fault is noted as caught={row.caught}")

    def _alarm(self, pair: Pair, row: Row[Any], epoch: Epoch) -> None:
        known = self._detectors.setdefault(pair.epoch, {})
        alarmed = advance(known, pair, epoch)
        if alarmed or pair.critical:
            self._alarms[row.seq] = grounds(known, pair, alarmed, row.seq)

    def _wrong(self, row: Row[Any], what: str) -> None:
        self.faults.append(f"evidence {row.seq}, evaluation {row.evaluation_id}: {what}")


def _judged(raw: RawPair, epoch: Epoch) -> Comparison:
    """The comparison of the first pair, classified by its re-runs, under the rules of its epoch."""
    evaluation = encoding.evaluation_of(raw.row)
    legacy, celery = next(iter(raw.legacy), None), next(iter(raw.celery), None)
    found = compare(raw.row.id, evaluation, legacy, celery, rules=epoch.key.rules)
    if found.classification is not Classification.MISMATCH or raw.row.reruns == 0:
        return found
    return confirmed(evaluation, found, raw.legacy[1:], raw.celery[1:], rules=epoch.key.rules)


_PAGE = 2000
_MOST_FAULTS = 50
_COUNTED = ("submitted", *COLUMNS, "unexpected")


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
