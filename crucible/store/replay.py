"""The rollout's books, recomputed from raw observations and held against what was written down then."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.compare import compare
from crucible.confirm import confirmed
from crucible.models import LEGS, Classification, Comparison, Observation
from crucible.mutants import MutantKind
from crucible.rollout.assessment import Assessment
from crucible.rollout.audit import AuditEntry, broken_links, canonical
from crucible.rollout.epoch import Epoch
from crucible.rollout.gates import assess
from crucible.rollout.inputs import EpochInputs
from crucible.rollout.stage import Rollout
from crucible.store import encoding, rollout_state
from crucible.store.entries import NOISE_RUN
from crucible.store.pairing import Detectors, Pair, advance, grounds, pair_of
from crucible.store.planting import planted_in
from crucible.store.rollout_inputs import read_tallies
from crucible.store.rollout_tables import epochs, evidence
from crucible.store.tables import evaluations, observations
from crucible.store.tally import Moves

_PAGE = 200
_MOST_FAULTS = 50


class Verification(NamedTuple):
    """What verifying found. ``faults`` are sentences, the first ones only; none means that all holds."""

    entries: int
    pairs: int
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every decision follows from the raw pairs."""
        return not self.faults


def assessed(inputs: EpochInputs, rollout: Rollout, epoch: Epoch, since_seq: int, today: date) -> Assessment:
    """What the gates of ``epoch`` say of ``inputs``: one function for deciding and for verifying."""
    key = epoch.key
    return assess(
        inputs, rollout, key.policy, budgets=key.budgets, expired=key.expired(today), since_seq=since_seq
    )


async def verify(connection: AsyncConnection) -> Verification:
    """Replay the evidence pair by pair and hold it against the log, the tallies and the decisions."""
    log = await rollout_state.entries(connection)
    replay = _Replay(log)
    replay.faults += broken_links(log)
    numbers = list(await connection.scalars(select(epochs.c.number).order_by(epochs.c.number)))
    replay.epochs = {each: await rollout_state.read_epoch(connection, each) for each in numbers}
    async for raw in _raw_pairs(connection):
        replay.take(raw)
    replay.check_decisions()
    replay.check_present(await rollout_state.read_state(connection))
    for number in numbers:
        replay.faults += await _tally_faults(connection, number)
    return Verification(len(log), replay.pairs, tuple(replay.faults[:_MOST_FAULTS]))


class _Raw(NamedTuple):
    row: Row[Any]
    legacy: Sequence[Observation]
    celery: Sequence[Observation]


class _Replay:
    """The state of a replay after some pairs."""

    def __init__(self, log: Sequence[AuditEntry]) -> None:
        self._log = log
        self.epochs: dict[int, Epoch] = {}
        self.faults: list[str] = []
        self.pairs = 0
        self._detectors: dict[int, Detectors] = {}
        self._counted: dict[tuple[int, str], Counter[bool]] = {}
        self._mutants: dict[int, Counter[tuple[str, bool]]] = {}
        self._alarms: dict[int, dict[str, Any]] = {}
        self._due = {
            (each.evidence_seq, each.grounds["inputs"]["epoch"]) for each in log if "inputs" in each.grounds
        }
        self._totals_at: dict[tuple[int, int], dict[str, tuple[int, int]]] = {}

    def take(self, raw: _Raw) -> None:
        """One more pair, in the order of the evidence."""
        self.pairs += 1
        row = raw.row
        if row.seq != self.pairs:
            self.faults.append(f"evidence {self.pairs} is missing: {row.seq} follows {self.pairs - 1}")
            self.pairs = row.seq
        epoch = self.epochs[row.epoch]
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
        for seq, number in self._due:
            if seq == row.seq:
                self._totals_at[seq, number] = self._totals(number)

    def check_decisions(self) -> None:
        """Hold each entry of the log against what the pairs before it say."""
        for entry in self._log:
            if "alarmed" in entry.grounds:
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
        again = assessed(inputs, before, self.epochs[before.epoch], entry.grounds["since_seq"], today)
        if canonical(again.model_dump(mode="json")) != canonical(entry.grounds["assessment"]):
            self.faults.append(f"audit entry {entry.seq}: its gates do not follow from its numbers")
        counted = {name: (each.pairs, each.mismatches) for name, each in inputs.strata.items() if each.pairs}
        totals = self._totals_at.get((entry.evidence_seq, inputs.epoch), {})
        if inputs.unconfirmed == 0 and counted != totals:
            self.faults.append(f"audit entry {entry.seq}: its counts do not follow from the raw pairs")

    def _count(self, pair: Pair) -> None:
        for stratum in pair.strata:
            self._counted.setdefault((pair.epoch, stratum), Counter())[pair.mismatch] += 1

    def _totals(self, epoch: int) -> dict[str, tuple[int, int]]:
        return {
            stratum: (counted.total(), counted[True])
            for (number, stratum), counted in self._counted.items()
            if number == epoch
        }

    def _check_mutant(self, raw: _Raw, judged: Comparison, epoch: Epoch) -> None:
        row = raw.row
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


def _judged(raw: _Raw, epoch: Epoch) -> Comparison:
    """The comparison of the first pair, classified by its re-runs, under the rules of its epoch."""
    evaluation = encoding.evaluation_of(raw.row)
    legacy, celery = next(iter(raw.legacy), None), next(iter(raw.celery), None)
    found = compare(raw.row.id, evaluation, legacy, celery, rules=epoch.key.rules)
    if found.classification is not Classification.MISMATCH or raw.row.reruns == 0:
        return found
    return confirmed(evaluation, found, raw.legacy[1:], raw.celery[1:], rules=epoch.key.rules)


async def _raw_pairs(connection: AsyncConnection) -> AsyncIterator[_Raw]:
    after = 0
    while rows := (await connection.execute(_page(after))).all():
        seen = await _observations(connection, [row.id for row in rows])
        for row in rows:
            yield _Raw(row, *_sides(seen.get(row.id, {})))
        after = rows[-1].seq


def _page(after: int) -> Select[Any]:
    columns = ("id", "payload", "route", "reference", "classification", "reruns")
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
    for row in await connection.execute(query.order_by(observations.c.run)):
        seen = encoding.observation_of(row.body, row.evaluation_id, row.leg, row.run)
        found.setdefault(row.evaluation_id, {}).setdefault(row.run, {})[row.leg] = seen
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


async def _tally_faults(connection: AsyncConnection, epoch: int) -> list[str]:
    """Where the sums by stratum are not what the ledger's rows add up to."""
    kept = await read_tallies(connection, epoch)
    columns: Select[Any] = select(evaluations.c.route, evaluations.c.classification, evaluations.c.id)
    counted = Moves()
    for row in await connection.execute(columns.where(evaluations.c.epoch == epoch)):
        strata = encoding.route_of(row).strata
        counted.enter(epoch, strata)
        if row.classification is not None:
            counted.move(epoch, strata, None, Classification(row.classification))
    return [
        f"epoch {epoch}, {stratum}: the tally is not what the ledger's rows add up to"
        for stratum, columns in counted.columns(epoch).items()
        if kept.get(stratum) != columns
    ]
