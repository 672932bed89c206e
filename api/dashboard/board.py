"""What the pages show, read from the store and from the parts; read once for all who look at a time."""

from dataclasses import dataclass

from api.dashboard.migration_view import MigrationView, migration_view
from api.standing import Kept, Observer, Standing
from crucible.report.plot import LatencyPlot, latency_plot
from crucible.report.summary import LatencyRecorder
from crucible.rollout.assessment import ALL, Columns
from crucible.rollout.audit import AuditEntry
from crucible.rollout.status import RolloutStatus
from crucible.store import Store
from crucible.store.listing import EvaluationFilter, EvaluationSummary, SweepSummary

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
