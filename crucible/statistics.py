"""The exact upper bound on a rate of which few cases were seen."""

from math import exp, lgamma, log, log1p

CONFIDENCE = 0.95
_STEPS = 60


def rate_upper_bound(cases: int, trials: int, confidence: float = CONFIDENCE) -> float | None:
    """One-sided exact upper bound on a rate, after ``cases`` in ``trials``; null without a trial.

    Source: C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
    the case of the binomial", Biometrika 26 (1934). Without a case: 1 − (1 − confidence)^(1/trials).
    """
    if trials <= 0:
        return None
    if cases >= trials:
        return 1.0
    alpha = 1 - confidence
    if cases == 0:
        return float(1 - alpha ** (1 / trials))
    low, high = cases / trials, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _probability_of_at_most(cases, trials, middle) > alpha:
            low = middle
        else:
            high = middle
    return high


def _probability_of_at_most(cases: int, trials: int, rate: float) -> float:
    if rate >= 1:
        return 0.0
    return sum(
        exp(
            lgamma(trials + 1)
            - lgamma(k + 1)
            - lgamma(trials - k + 1)
            + k * log(rate)
            + (trials - k) * log1p(-rate)
        )
        for k in range(cases + 1)
    )
