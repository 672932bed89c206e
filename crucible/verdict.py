"""From the ledger to a verdict."""

from math import exp, lgamma, log, log1p

from crucible.errors import LedgerImbalance
from crucible.models import Counts, Verdict

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


MIN_EVALUATIONS = 50


def mismatch_rate_upper(counts: Counts) -> float | None:
    """Upper bound on the rate of mismatches over what was compared or should have been.

    An unpaired evaluation counts as a mismatch, since nobody saw that it is none. Nondeterministic
    ones say nothing of parity and are left out.
    """
    cases = counts.mismatched + counts.unpaired
    return rate_upper_bound(cases, counts.matched + cases, CONFIDENCE)


def judge(
    counts: Counts, min_evaluations: int = MIN_EVALUATIONS, *, ignore_expectations: bool = False
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and its reasons, the weightiest first.

    Raises ``LedgerImbalance`` when an evaluation is unaccounted for: no verdict is given on such books.
    """
    if not counts.balanced:
        raise LedgerImbalance(
            f"the ledger does not add up: {counts.submitted} submitted, {counts.settled} accounted for; "
            "this is a defect in Crucible, please report it with the store's file"
        )
    failures = []
    if counts.mismatched:
        failures.append(
            f"{_many(counts.mismatched)} answered differently by the two legs, confirmed by re-runs"
        )
    if counts.unpaired:
        failures.append(f"{_many(counts.unpaired)} without an answer from one leg or both")
    if counts.unexpected and not ignore_expectations:
        failures.append(
            f"{_many(counts.unexpected)} on which both legs agree and miss what the corpus expects"
        )
    if failures:
        return Verdict.FAIL, tuple(failures)
    if counts.matched < min_evaluations:
        needed = f"at least {min_evaluations} are needed (--min-evaluations)"
        return Verdict.INCONCLUSIVE, (f"{_many(counts.matched)} compared and equal; {needed}",)
    return Verdict.PASS, (f"{_many(counts.matched)} compared, all equal byte for byte",)


def _many(number: int) -> str:
    return f"{number:,} evaluation{'s' if number != 1 else ''}"
