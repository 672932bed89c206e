"""Evidence that the mismatch rate is below a bound, valid whenever one looks.

Null hypothesis: given all that came before, the next pair is a mismatch with probability p0 or more. Against
it bets a mixture of three fixed alternatives; the wealth of that bet,

    E = sum over k of w_k (p_k / p0)^S ((1 - p_k) / (1 - p0))^(n - S),    p_k = c_k p0,

after n pairs with S mismatches is a non-negative supermartingale that begins at 1 wherever the null holds.
By Ville's inequality it ever reaches 1/alpha with probability alpha at most, however often one looks and
however pairs depend on each other. (J. Ville, "Étude critique de la notion de collectif", 1939; for betting
by mixtures A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, "Game-theoretic statistics and safe anytime-valid
inference", Statistical Science 38(4), 2023.)

Less data never makes passing easier: without any, E is 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crucible.errors import InputError

_BETS = ((0.5, 0.0), (0.25, 0.1), (0.25, 1 / 3))
"""Weight and c_k of each alternative. Half the wealth bets on no mismatch at all, which makes a clean run
cheap; the rest survives a few."""

_PRECISION = 1e-12
_LARGEST_LOG = 700.0


@dataclass(frozen=True, slots=True)
class Question:
    """Whether the mismatch rate is below ``p0``, to be said wrongly with probability ``alpha`` at most."""

    p0: float = 0.01
    alpha: float = 0.05

    def __post_init__(self) -> None:
        """Raise ``InputError`` unless both lie strictly between 0 and 1."""
        for name, value in (("p0", self.p0), ("alpha", self.alpha)):
            if not 0 < value < 1:
                raise InputError(f"{name} is {value}; it must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the counts say.

    ``mismatch_rate_upper`` is the smallest bound for which they would suffice: the rate is below it, with
    confidence 1 - alpha at all looks together. ``pairs_to_go`` is how many more pairs it takes if mismatches
    go on at the rate seen; 0 once there, null for never.
    """

    e_value: float
    go: bool
    mismatch_rate_upper: float
    pairs_to_go: int | None


def evidence(pairs: int, mismatches: int, question: Question) -> Evidence:
    """The evidence in ``pairs`` of which ``mismatches`` disagreed or lacked an answer.

    Raises ``InputError`` for counts that cannot be.
    """
    if pairs < 0 or not 0 <= mismatches <= pairs:
        raise InputError(f"{mismatches} mismatches of {pairs} pairs cannot be; count both from 0 up")
    log_e = _log_e(pairs, mismatches, question.p0)
    return Evidence(
        e_value=math.exp(min(log_e, _LARGEST_LOG)),
        go=log_e >= -math.log(question.alpha),
        mismatch_rate_upper=_upper(pairs, mismatches, question.alpha),
        pairs_to_go=_pairs_to_go(pairs, mismatches, question),
    )


def _log_e(pairs: float, mismatches: float, p0: float) -> float:
    """Logarithm of E. Counts may be fractions, as they are when one looks ahead."""
    terms = []
    for weight, fraction in _BETS:
        if fraction == 0 and mismatches > 0:
            continue  # this bet has lost everything
        lost = mismatches * math.log(fraction) if mismatches else 0.0
        won = (pairs - mismatches) * (math.log1p(-fraction * p0) - math.log1p(-p0))
        terms.append(math.log(weight) + lost + won)
    largest = max(terms)
    return largest + math.log(sum(math.exp(term - largest) for term in terms))


def _upper(pairs: int, mismatches: int, alpha: float) -> float:
    """The largest p0 that is not refuted. E grows with p0, every factor does, so one crossing is all."""
    wanted = -math.log(alpha)
    low, high = 0.0, 1 - _PRECISION
    if _log_e(pairs, mismatches, high) < wanted:
        return 1.0
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if _log_e(pairs, mismatches, middle) >= wanted else (middle, high)
    return high


def _pairs_to_go(pairs: int, mismatches: int, question: Question) -> int | None:
    """Ln E is convex in the pairs to come: from below it crosses once, if its slope is ever positive."""
    wanted = -math.log(question.alpha)
    rate = mismatches / pairs if pairs else 0.0

    def reached(more: int) -> bool:
        return _log_e(pairs + more, mismatches + rate * more, question.p0) >= wanted

    if reached(0):
        return 0
    if _growth(rate, question.p0) <= 0:
        return None
    enough = 1
    while not reached(enough):
        enough *= 2
    low, high = enough // 2, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _growth(rate: float, p0: float) -> float:
    """What the best bet wins a pair in the long run, as ln E, where mismatches come at ``rate``."""
    gains = [
        (1 - rate) * (math.log1p(-fraction * p0) - math.log1p(-p0))
        + (rate * math.log(fraction) if rate else 0.0)
        for _, fraction in _BETS
        if fraction > 0 or rate == 0
    ]
    return max(gains)


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted in one stratum (a language, a tag)."""

    pairs: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class Gate:
    """``go`` is true where every stratum says GO. ``waiting`` are those that do not, the farthest first.

    A GO of all together is wrong with probability alpha at most without any correction for their number:
    it is wrong only if the one that should have refused is (R. L. Berger, "Multiparameter hypothesis testing
    and acceptance sampling", Technometrics 24(4), 1982).
    """

    go: bool
    strata: Mapping[str, Evidence]
    waiting: tuple[str, ...]


def gate(strata: Mapping[str, Tally], question: Question) -> Gate:
    """The gate over ``strata``; one without pairs is inconclusive, and so is there being none."""
    found = {name: evidence(tally.pairs, tally.mismatches, question) for name, tally in strata.items()}
    waiting = [name for name, each in found.items() if not each.go]
    waiting.sort(key=lambda name: found[name].e_value)
    return Gate(go=bool(found) and not waiting, strata=found, waiting=tuple(waiting))
