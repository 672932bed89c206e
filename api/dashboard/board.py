"""What the pages show, read from the store and from the parts; read once for all who look at a time."""

import math
from dataclasses import dataclass

from api.readiness import Kept, Observer, Standing
from crucible.report.plot import LatencyPlot, latency_plot
from crucible.report.summary import LatencyRecorder
from crucible.report.words import percent_up
from crucible.rollout.assessment import ALL, Columns, GateState
from crucible.rollout.epoch import AuditEntry
from crucible.rollout.gates import NAME as PARITY
from crucible.rollout.stage import Stage
from crucible.rollout.status import RolloutStatus, StratumStatus
from crucible.store import Store
from crucible.store.listing import EvaluationFilter, EvaluationSummary, SweepSummary

SIGNS = {GateState.GO: "✓", GateState.WAITING: "…", GateState.BLOCKED: "✗"}

_LARGE = 9_999
_WHOLE = 100


@dataclass(frozen=True, slots=True)
class StratumView:
    """The evidence of one stratum. ``part`` is how far it is on its way to a GO, from 0 to 100."""

    name: str
    e_value: str
    part: int
    upper: str
    pairs: int
    against: int
    to_go: str


@dataclass(frozen=True, slots=True)
class MigrationView:
    """``stages`` has each stage and whether it is behind, present or ahead; ``detector`` is from 0 to 100."""

    stages: tuple[tuple[str, str], ...]
    threshold: float
    strata: tuple[StratumView, ...]
    detector: int
    answer: str
    refusing: tuple[str, ...]


def migration_view(status: RolloutStatus) -> MigrationView:
    """What a page draws of ``status``."""
    threshold = _threshold(status)
    refusing = _refusing(status)
    return MigrationView(
        stages=tuple((each.value, _place(each, status.stage)) for each in Stage),
        threshold=threshold,
        strata=tuple(_stratum(name, each, threshold) for name, each in status.strata.items()),
        detector=max(
            (_part(value, status.detector.alarm_at) for value in status.detector.statistics.values()),
            default=0,
        ),
        answer="end" if status.next is None else "not yet" if refusing else "go",
        refusing=refusing,
    )


def _refusing(status: RolloutStatus) -> tuple[str, ...]:
    found = tuple(gate.name for gate in status.gates if gate.state is not GateState.GO)
    if status.next is not None and not status.next.needs_go:
        return tuple(name for name in found if name == "state")
    return found


def _place(stage: Stage, present: Stage) -> str:
    if stage is present:
        return "present"
    return "behind" if stage.rank < present.rank else "ahead"


def _threshold(status: RolloutStatus) -> float:
    found = (gate.numbers.get("threshold") for gate in status.gates if gate.name == PARITY)
    return next(filter(None, found), math.inf)


def _stratum(name: str, each: StratumStatus, threshold: float) -> StratumView:
    return StratumView(
        name=name,
        e_value=f"{each.e_value:,.2f}" if each.e_value <= _LARGE else f"> {_LARGE:,}",
        part=_part(each.e_value, threshold),
        upper=percent_up(each.mismatch_rate_upper),
        pairs=each.pairs,
        against=each.mismatches,
        to_go=_to_go(name, each),
    )


def _part(value: float, whole: float) -> int:
    """How far a statistic that begins at 1 has come, on a scale of logarithms."""
    return min(_WHOLE, round(_WHOLE * math.log(max(value, 1.0)) / math.log(whole)))


def _to_go(name: str, each: StratumStatus) -> str:
    if each.kept:
        return "see languages" if name == ALL else "kept on legacy"
    if each.pairs_to_go is None:
        return "never at this rate"
    return f"{each.pairs_to_go:,} pairs to go" if each.pairs_to_go else "enough"


_NEWEST = 12
_SWEEPS = 5
_CHANGES = 6
_TIMED = 1000
_STATUS_KEPT_S = 2.0


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the first page. ``pace`` is how many pairs a second settled of late; null: too few."""

    status: RolloutStatus
    migration: MigrationView
    ledger: Columns
    newest: tuple[EvaluationSummary, ...]
    sweeps: tuple[SweepSummary, ...]
    changes: tuple[AuditEntry, ...]
    plot: LatencyPlot | None
    standing: Standing
    pace: float | None

    @property
    def eta_s(self) -> float | None:
        """Seconds to enough evidence in every stratum at the present pace; null where nobody can say."""
        needed = [each.pairs_to_go for each in self.status.strata.values() if not each.kept]
        if self.pace is None or not needed or None in needed:
            return None
        return max(each or 0 for each in needed) / self.pace


class Board:
    """Reads for pages. Raises as ``Store`` does."""

    def __init__(self, store: Store, observer: Observer) -> None:
        self._store, self._observer = store, observer
        self._status = Kept(store.rollout.status, _STATUS_KEPT_S)
        self._plot = Kept(self._read_plot, _STATUS_KEPT_S)
        self._newest = Kept(self._read_newest)

    async def overview(self) -> Overview:
        """The first page, at most two seconds old."""
        status, newest = await self._status.get(), await self._newest.get()
        return Overview(
            status=status,
            migration=migration_view(status),
            ledger=status.strata.get(ALL, Columns()),
            newest=newest[:_NEWEST],
            sweeps=tuple(await self._store.listing.sweeps(None, _SWEEPS)),
            changes=tuple(reversed(await self._store.rollout.history(_CHANGES))),
            plot=await self._plot.get(),
            standing=await self._observer.standing(),
            pace=_pace(newest),
        )

    async def status(self) -> RolloutStatus:
        """Where the migration stands now, read anew: somebody is about to decide."""
        return await self._store.rollout.status()

    async def standing(self) -> Standing:
        """How the parts stand."""
        return await self._observer.standing()

    async def _read_newest(self) -> tuple[EvaluationSummary, ...]:
        return tuple(await self._store.listing.evaluations(EvaluationFilter(), None, 100))

    async def _read_plot(self) -> LatencyPlot | None:
        recorders = {"legacy": LatencyRecorder(), "celery": LatencyRecorder()}
        for leg, duration_s in await self._store.listing.durations(_TIMED):
            recorders[leg].add(duration_s)
        return latency_plot({leg: each.summary() for leg, each in recorders.items()})


def _pace(newest: tuple[EvaluationSummary, ...]) -> float | None:
    """Pairs of traffic a second, by the newest that are settled."""
    settled = [each.settled_at for each in newest if each.settled_at and each.sweep_id is None]
    if len(settled) < _NEWEST:
        return None
    span_s = (max(settled) - min(settled)).total_seconds()
    return len(settled) / span_s if span_s > 0 else None
