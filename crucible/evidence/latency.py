"""Whether Celery answers as soon as legacy does."""

import math
from bisect import bisect_left
from dataclasses import dataclass

from crucible.errors import InputError

_PRIOR_WEIGHT = 50.0


@dataclass(frozen=True, slots=True)
class RankBounds:
    """Ranks, from 1, of the sorted times between which a quantile lies; null where there are too few."""

    lower: int | None
    upper: int | None


def rank_bounds(pairs: int, quantile: float = 0.95, alpha: float = 0.05) -> RankBounds:
    """Where a quantile lies among ``pairs`` times.

    For two legs the answers hold together, and at all looks together, with confidence 1 - alpha: each takes
    half of alpha.

    The number of times at or below the quantile is binomial; ranks r are kept as long as the mixture
    martingale B(a + r, b + n - r) / (B(a, b) q^r (1 - q)^(n - r)) stays below 2 / alpha, a = 50 q and
    b = 50 (1 - q). (S. R. Howard, A. Ramdas, "Sequential estimation of quantiles with applications to A/B
    testing and best-arm identification", Bernoulli 28(3), 2022.)
    """
    if not 0 < quantile < 1 or not 0 < alpha < 1 or pairs < 0:
        raise InputError(f"no ranks for {pairs} times, quantile {quantile} and alpha {alpha}")
    wanted = math.log(2 / alpha)

    def is_refuted(rank: int) -> bool:
        return _log_ratio(rank, pairs, quantile) >= wanted

    # The ratio is convex in r and below 1 near q n, so what is kept lies around there in one piece.
    middle = round(quantile * pairs)
    lower = bisect_left(range(middle), True, key=lambda rank: not is_refuted(rank))
    upper = middle + bisect_left(range(middle, pairs + 1), True, key=is_refuted)
    return RankBounds(lower or None, upper if upper <= pairs else None)


def _log_ratio(rank: int, pairs: int, quantile: float) -> float:
    a, b = _PRIOR_WEIGHT * quantile, _PRIOR_WEIGHT * (1 - quantile)
    likelihood = rank * math.log(quantile) + (pairs - rank) * math.log1p(-quantile)
    return _log_beta(a + rank, b + pairs - rank) - _log_beta(a, b) - likelihood


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
