"""Run times and the slowest evaluations, gathered while a sweep runs, in memory that stays small."""

from bisect import bisect_left
from collections import Counter
from heapq import heappush, heappushpop
from itertools import count
from math import ceil, isfinite

from crucible.models.sweep import LatencySummary, Slowest

RATIO = 2 ** (1 / 8)
"""How much each bound of the histogram exceeds the one before: about 9 %."""

KEPT = 10

_SHORTEST_S = 1e-4
_BINS = 8 * 27


class LatencyRecorder:
    """Run times in a histogram with bounds from 0.1 ms to about 3.7 hours."""

    def __init__(self) -> None:
        self._bounds = [_SHORTEST_S * RATIO**index for index in range(_BINS)]
        self._bins: Counter[int] = Counter()
        self._total_s = 0.0
        self._max_s = 0.0

    def add(self, seconds: float) -> None:
        """Record one run; raises ``ValueError`` for what is no length of time."""
        if not isfinite(seconds) or seconds < 0:
            raise ValueError(f"a run cannot have taken {seconds} seconds")
        self._bins[min(bisect_left(self._bounds, seconds), _BINS - 1)] += 1
        self._total_s += seconds
        self._max_s = max(self._max_s, seconds)

    def summary(self) -> LatencySummary:
        """What was recorded so far; all zeros when nothing was.

        Quantiles are by nearest rank and given as the upper bound of their bin: never too low, and
        too high by at most one bin.
        """
        histogram = self._histogram()
        number = self._bins.total()
        return LatencySummary(
            count=number,
            mean_s=self._total_s / number if number else 0.0,
            p50_s=_quantile(histogram, 0.50),
            p95_s=_quantile(histogram, 0.95),
            p99_s=_quantile(histogram, 0.99),
            max_s=self._max_s,
            histogram=histogram,
        )

    def _histogram(self) -> tuple[tuple[float, int], ...]:
        if not self._bins:
            return ()
        last = max(self._bins)
        inner = [(self._bounds[index], self._bins[index]) for index in range(min(self._bins), last)]
        return (*inner, (self._max_s, self._bins[last]))


class SlowestKeeper:
    """The ten evaluations whose slower leg took longest; of equal ones the earlier stay."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Slowest]] = []
        self._order = count(0, -1)

    def add(self, candidate: Slowest) -> None:
        """Consider one evaluation."""
        entry = (max(candidate.legacy_s, candidate.celery_s), next(self._order), candidate)
        if len(self._heap) < KEPT:
            heappush(self._heap, entry)
        else:
            heappushpop(self._heap, entry)

    def slowest(self) -> tuple[Slowest, ...]:
        """What is kept, the slowest first."""
        return tuple(candidate for _, _, candidate in sorted(self._heap, reverse=True))


def _quantile(histogram: tuple[tuple[float, int], ...], share: float) -> float:
    rank = ceil(share * sum(number for _, number in histogram))
    seen = 0
    for bound, number in histogram:
        seen += number
        if seen >= rank:
            return bound
    return 0.0
