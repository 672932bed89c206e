"""From the ledger of a sweep to its report."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from crucible.fingerprints import causes
from crucible.models import Classification, Comparison, SweepReport
from crucible.models.frozen import Frozen
from crucible.models.sweep import Slowest
from crucible.report.summary import LatencyRecorder, SlowestKeeper
from crucible.verdict import CONFIDENCE, MIN_EVALUATIONS, judge, mismatch_rate_upper
from flows.host import FlowHost
from tasks.exchange import Tally

_PAGE = 20
_DETAIL_BYTES = 64 << 20
_WORTH_READING = (
    (Classification.MISMATCH,),
    (Classification.UNPAIRED,),
    (),  # unexpected ones
    (Classification.NONDETERMINISTIC,),
)


class SweepRequest(Frozen):
    """What was asked of a sweep.

    ``languages`` maps those that executors run here to their versions; evaluations in others are
    counted as not sampled.
    """

    corpora: tuple[Path, ...]
    languages: dict[str, str]
    limit: int | None = None
    min_evaluations: int = MIN_EVALUATIONS
    ignore_expectations: bool = False
    prefect_url: str | None = None


@dataclass
class Outcome:
    """What only the sweep itself knows and the ledger does not."""

    sweep_id: str
    flow_run_id: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    flow_run_ids: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    isolation_levels: set[str] = field(default_factory=set)
    tally_before: Tally = field(default_factory=Tally)
    """What the process, which may have run sweeps before, had counted when this one began."""
    _clock: float = field(default_factory=time.monotonic)

    def skip(self, languages: Iterable[str]) -> None:
        """Count evaluations left out because nobody here runs their language."""
        self.skipped.update(languages)

    def settled(self, comparison: Comparison) -> None:
        """Note how the programs of a comparison were isolated."""
        sides = (comparison.legacy, comparison.celery)
        self.isolation_levels.update(side.isolation_level for side in sides if side is not None)

    @property
    def duration_s(self) -> float:
        """Seconds since the sweep began."""
        return time.monotonic() - self._clock


async def report_on(host: FlowHost, request: SweepRequest, outcome: Outcome) -> SweepReport:
    """The report of a sweep that has run to its end, from what is in the store.

    Raises ``LedgerImbalance`` when the store cannot account for every evaluation.
    """
    counts = await host.store.counts(outcome.sweep_id)
    verdict, reasons = judge(counts, request.min_evaluations, ignore_expectations=request.ignore_expectations)
    details = [
        each
        async for each in _details(host, outcome.sweep_id, SweepReport.model_fields["details_limit"].default)
    ]
    recorders, slowest = await _timings(host, outcome.sweep_id)
    odd = counts.mismatched + counts.unpaired + counts.nondeterministic + counts.unexpected
    flow_run_ids = (outcome.flow_run_id, *outcome.flow_run_ids)
    duration_s = outcome.duration_s
    return SweepReport(
        sweep_id=outcome.sweep_id,
        verdict=verdict,
        reasons=reasons,
        counts=counts,
        mismatch_rate_upper=mismatch_rate_upper(counts),
        confidence=CONFIDENCE,
        throughput_per_s=round((counts.submitted - counts.not_sampled) / duration_s, 3),
        duration_s=round(duration_s, 3),
        started_at=outcome.started_at,
        corpora=tuple(str(path) for path in request.corpora),
        flow_run_ids=flow_run_ids,
        flow_run_urls=_urls(request.prefect_url, flow_run_ids),
        details=tuple(details),
        details_omitted=odd - len(details),
        causes=causes(details),
        slowest=slowest.slowest(),
        latency={leg: recorder.summary() for leg, recorder in recorders.items()},
        skipped=dict(outcome.skipped),
        isolation_levels=tuple(sorted(outcome.isolation_levels)),
        languages=request.languages,
        duplicates_dropped=host.exchange.tally.dropped - outcome.tally_before.dropped,
        resent=host.exchange.tally.resent - outcome.tally_before.resent,
        crucible_version=version("crucible"),
    )


async def _details(host: FlowHost, sweep_id: str, limit: int) -> AsyncIterator[Comparison]:
    """The comparisons worth reading, the worst kind first, at most ``limit`` and so many bytes."""
    room, bytes_left = limit, _DETAIL_BYTES
    for kinds in _WORTH_READING:
        after = None
        while room > 0 and bytes_left > 0:
            page = await host.store.page(sweep_id, kinds, after, min(_PAGE, room), unexpected=not kinds)
            if not page:
                break
            for comparison in page:
                bytes_left -= _size(comparison)
                if bytes_left > 0:
                    yield comparison
            room -= len(page)
            after = page[-1].evaluation_id


def _size(comparison: Comparison) -> int:
    sides = (side for side in (comparison.legacy, comparison.celery) if side is not None)
    return sum(len(side.stdout_b64) + len(side.stderr_b64) for side in sides)


async def _timings(host: FlowHost, sweep_id: str) -> tuple[dict[str, LatencyRecorder], SlowestKeeper]:
    recorders = {"legacy": LatencyRecorder(), "celery": LatencyRecorder()}
    keeper = SlowestKeeper()
    async for timing in host.store.timings(sweep_id):
        recorders["legacy"].add(timing.legacy_s)
        recorders["celery"].add(timing.celery_s)
        keeper.add(Slowest(**timing._asdict()))
    return dict(recorders), keeper


def _urls(prefect_url: str | None, flow_run_ids: Iterable[str]) -> tuple[str, ...]:
    if prefect_url is None:
        return ()
    return tuple(f"{prefect_url.rstrip('/')}/runs/flow-run/{each}" for each in flow_run_ids)
