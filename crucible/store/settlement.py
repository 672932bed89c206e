"""What settling traffic means: its column, who answers, the evidence, and the way back when that is due.

All of it happens in the transaction that settles, under the lock of the rollout's row. So there is one order
in which pairs count, and from the pair on at which a detector alarms no answer is Celery's.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import Span
from sqlalchemy import Row, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.compare import MutantKind
from crucible.evidence import Detector
from crucible.models import LEGS, Classification, Comparison
from crucible.rollout.epoch import ITSELF, Epoch, strata_of
from crucible.rollout.stage import (
    Rollout,
    Route,
    Stage,
    answered_by,
    back,
    is_orphaned,
    route,
    without_shadow,
)
from crucible.store import encoding, queries
from crucible.store.entries import Settled, Submission
from crucible.store.pairing import (
    Detectors,
    Pair,
    Planted,
    advance,
    carries_fault,
    grounds,
    is_evidence,
    pair_of,
    planted_in,
)
from crucible.store.rollout_inputs import CAUSE, UNPLANTED, read_counter, read_detectors
from crucible.store.rollout_state import Reason, newest_seq, read_epoch, read_state, write_state
from crucible.store.tables import counters, detectors, evaluations, evidence, observations
from crucible.store.tally import Moves, put
from crucible.telemetry.spans import Root, ending, here, link_to, root, text_of


async def enter_traffic(
    connection: AsyncConnection, submissions: Sequence[Submission], *, on_sqlite: bool
) -> dict[str, Route]:
    """The routes of those of ``submissions`` that are traffic, by id, after counting them as waiting."""
    traffic = [each for each in submissions if each.is_traffic]
    if not traffic:
        return {}
    rollout = (await read_state(connection)).rollout
    epoch = await read_epoch(connection, rollout.epoch)
    routes = {each.id: _route(rollout, epoch, each) for each in traffic}
    moves = Moves()
    for each in routes.values():
        moves.enter(each.epoch, each.strata)
    await moves.write(connection, on_sqlite=on_sqlite)
    return routes


def _route(rollout: Rollout, epoch: Epoch, submission: Submission) -> Route:
    found = route(rollout, submission.evaluation, submission.id)
    if submission.alone:
        found = without_shadow(found)
    strata = strata_of(submission.evaluation, epoch.key.policy.strata_tags)
    if submission.reference is not None:
        return found.model_copy(update={"strata": strata, "legs": ("celery",), "authority": "celery"})
    return found.model_copy(update={"strata": strata})


@asynccontextmanager
async def rooted(submissions: Sequence[Submission]) -> AsyncIterator[Mapping[str, str]]:
    """The traceparents of what is being submitted, by id; those of its spans ``submit`` that last as long.

    Where the process makes no traces there are none. A trace in which somebody asked is linked to.
    """
    asked_in = here()
    links = [link_to(asked_in, "asked for here")] if asked_in else []
    begun: dict[str, Span] = {}
    for each in submissions:
        if each.classification is None:
            attributes = {"evaluation": each.id, "language": each.evaluation.language}
            if each.sweep_id is not None:
                attributes["sweep"] = each.sweep_id
            kind = Root.TRAFFIC if each.sweep_id is None else Root.SWEEP
            begun[each.id] = root("submit", kind, attributes, links)
    contexts = {each: span.get_span_context() for each, span in begun.items()}
    with ending(begun.values()):
        yield {each: text_of(context) for each, context in contexts.items() if context.is_valid}


class Settlement:
    """One transaction's worth of settling. ``open`` it, ``take`` what is due, then ``write``."""

    def __init__(
        self, connection: AsyncConnection, moves: Moves, rollout: Rollout, seq: int, *, on_sqlite: bool
    ) -> None:
        self._connection = connection
        self._on_sqlite = on_sqlite
        self._seq = seq
        self._rollout = rollout
        self._epochs: dict[int, Epoch] = {}
        self._detectors: dict[int, Detectors] = {}
        self._moves = moves
        self._unplanted: dict[int, int] = {}
        self._evidence: list[dict[str, Any]] = []

    @classmethod
    async def open(cls, connection: AsyncConnection, moves: Moves, *, on_sqlite: bool) -> "Settlement":
        """Take the lock: nobody else settles traffic or changes the rollout until the transaction ends.

        What is to be counted is added to ``moves``, which is the caller's to write after this.
        """
        state = await read_state(connection, lock=True)
        seq = await newest_seq(connection)
        return cls(connection, moves, state.rollout, seq, on_sqlite=on_sqlite)

    async def take(self, row: Row[Any], comparison: Comparison) -> Comparison | None:
        """``comparison`` with its answer, counted; null when legacy must run the evaluation first."""
        route = encoding.route_of(row)
        if row.reference is None and is_orphaned(route, comparison, self._rollout.revoked):
            return None
        if row.reference is None:
            who = answered_by(route, comparison, self._rollout.revoked)
            comparison = comparison.model_copy(update={"answered_by": who})
        await self._count(row, route, comparison, None)
        return comparison

    async def retake(self, row: Row[Any], comparison: Comparison) -> None:
        """Count what re-runs made of a mismatch."""
        await self._count(row, encoding.route_of(row), comparison, Classification.MISMATCH)

    async def write(self) -> None:
        """Write evidence and detectors, and count the faults that were planted."""
        if self._evidence:
            await self._connection.execute(insert(evidence), self._evidence)
        for row in self._evidence:
            if row["mutant"] is not None:
                self._moves.count(row["epoch"], f"mutant:{row['mutant']}:planted")
                self._moves.count(row["epoch"], f"mutant:{row['mutant']}:caught", int(row["caught"]))
        for epoch, number in self._unplanted.items():
            key = {"epoch": epoch, "name": UNPLANTED}
            await put(self._connection, counters, key, {"number": number}, on_sqlite=self._on_sqlite)
        for epoch, known in self._detectors.items():
            for stratum, detector in known.items():
                key, value = {"epoch": epoch, "stratum": stratum}, {"log_m": detector.log_m}
                await put(self._connection, detectors, key, value, on_sqlite=self._on_sqlite)

    def caught_twice(self, evaluation_id: str, *, caught: bool) -> None:
        """Whether a second settlement of an evaluation that carries the fault ``duplicate`` was refused."""
        for row in self._evidence:
            if row["evaluation_id"] == evaluation_id:
                row["caught"] = caught

    @property
    def duplicated(self) -> list[str]:
        """The evaluations of this transaction whose settlement is to be tried a second time."""
        return [row["evaluation_id"] for row in self._evidence if row["mutant"] == MutantKind.DUPLICATE]

    async def _count(
        self, row: Row[Any], route: Route, comparison: Comparison, old: Classification | None
    ) -> None:
        epoch = await self._epoch(route.epoch)
        if comparison.classification is not old:
            self._moves.move(route.epoch, route.strata, old, comparison.classification)
        self._count_cause(row, route, comparison)
        if old is None:
            self._count_first(row, route, comparison)
        counted_before = old is not None and row.reruns > 0
        if is_evidence(comparison) and not counted_before:
            planted = None if row.reference else await self._planted(epoch, comparison)
            await self._append(pair_of(route, comparison), planted, epoch)

    def _count_first(self, row: Row[Any], route: Route, comparison: Comparison) -> None:
        """What is counted of a first pair alone: the rules it needed, and how long both legs took."""
        for rule in comparison.normalised_by:
            self._moves.count(route.epoch, f"rule:{rule}")
        if row.reference is not None or comparison.legacy is None or comparison.celery is None:
            return
        for leg, seen in zip(LEGS, (comparison.legacy, comparison.celery), strict=True):
            self._moves.time(route.epoch, "duration_s", leg, seen.duration_s)
        if all(leg in comparison.waited_s for leg in LEGS):
            for leg in LEGS:
                self._moves.time(route.epoch, "waited_s", leg, comparison.waited_s[leg])

    def _count_cause(self, row: Row[Any], route: Route, comparison: Comparison) -> None:
        if row.classification == Classification.MISMATCH and row.cause is not None:
            self._moves.count(route.epoch, f"{CAUSE}{row.cause}", -1)
        if comparison.classification is Classification.MISMATCH and comparison.cause is not None:
            self._moves.count(route.epoch, f"{CAUSE}{comparison.cause}")

    async def _planted(self, epoch: Epoch, comparison: Comparison) -> Planted | None:
        if not carries_fault(epoch.key, comparison):
            return None
        row = (await self._connection.execute(queries.payloads([comparison.evaluation_id]))).one()
        return planted_in(epoch.key, comparison, encoding.evaluation_of(row))

    async def _append(self, pair: Pair, planted: Planted | None, epoch: Epoch) -> None:
        self._seq += 1
        self._evidence.append(
            {
                "seq": self._seq,
                "epoch": pair.epoch,
                "evaluation_id": pair.evaluation_id,
                "mismatch": pair.mismatch,
                "against_celery": pair.against_celery,
                "mutant": None if planted is None else planted.kind.value,
                "caught": None if planted is None else planted.caught,
            }
        )
        if epoch.number not in self._unplanted:
            self._unplanted[epoch.number] = await read_counter(self._connection, epoch.number, UNPLANTED)
        self._unplanted[epoch.number] = 0 if planted else self._unplanted[epoch.number] + 1
        known = await self._known_detectors(epoch)
        alarmed = advance(known, pair, epoch)
        critical = pair.critical and self._rollout.stage.rank >= Stage.CANARY.rank
        if (alarmed or critical) and self._may_go_back(pair.epoch):
            await self._go_back(pair, alarmed, grounds(known, pair, alarmed, self._seq))

    def _may_go_back(self, epoch: int) -> bool:
        return (
            epoch == self._rollout.epoch
            and self._rollout.stage is not Stage.LEGACY
            and not self._rollout.is_spent
        )

    async def _known_detectors(self, epoch: Epoch) -> Detectors:
        if epoch.number not in self._detectors:
            settings = epoch.key.detector
            kept = await read_detectors(self._connection, epoch.number)
            self._detectors[epoch.number] = {name: Detector(settings, log_m) for name, log_m in kept.items()}
        return self._detectors[epoch.number]

    async def _go_back(self, pair: Pair, alarmed: Sequence[str], because: dict[str, Any]) -> None:
        what = (
            f"the detector alarmed in {', '.join(alarmed)}"
            if alarmed
            else "a critical mismatch was confirmed"
        )
        why = Reason(ITSELF, "rollback", f"{what}, at evaluation {pair.evaluation_id}", because)
        after = back(self._rollout)
        await write_state(self._connection, self._rollout, after, why, self._seq)
        self._rollout = after

    async def _epoch(self, number: int) -> Epoch:
        if number not in self._epochs:
            self._epochs[number] = await read_epoch(self._connection, number)
        return self._epochs[number]


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
        self._earlier: dict[str, Comparison] = {}
        self._orphaned: list[Comparison] = []

    async def lock(self, ids: Sequence[str]) -> Rows:
        """The ledger rows of ``ids`` that there are, for this transaction alone."""
        if self._traffic is None and await self._connection.scalar(queries.traffic_in(ids)) is not None:
            self._traffic = await Settlement.open(self._connection, self._moves, on_sqlite=self._on_sqlite)
        return {row.id: row for row in await self._connection.execute(queries.lock_rows(ids))}

    async def settle(self, rows: Rows, comparisons: Sequence[Comparison], observed: Observed) -> None:
        """Settle those that have no column yet, in this order, with what was ``observed`` of each."""
        due, settled_before = [], []
        for comparison in comparisons:
            row = rows[comparison.evaluation_id]
            if row.classification is not None:
                settled_before.append(row.id)
                continue
            taken = await self._taken(row, comparison)
            if taken is None:
                self._orphaned.append(comparison)
            else:
                due.append(taken)
                self._move_in_sweep(row, taken)
        if due:
            await self._write(due, observed)
        if settled_before:
            query = queries.ledger_rows().where(evaluations.c.id.in_(settled_before))
            found = await self._connection.execute(query)
            self._earlier |= {row.id: encoding.comparison_of(row) for row in found}

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

    @property
    def settled(self) -> Settled:
        """What came of it."""
        return Settled(tuple(self._done.values()), tuple(self._earlier.values()), tuple(self._orphaned))

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
