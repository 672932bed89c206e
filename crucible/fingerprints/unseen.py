"""How likely the next evaluation shows a cause that nobody has seen."""

from collections.abc import Mapping

from crucible.errors import InputError


def unseen(counts: Mapping[str, int], pairs: int) -> float:
    """The probability that the next pair shows a cause not in ``counts``: causes seen once over all pairs.

    ``counts`` has the mismatches by digest among ``pairs`` compared evaluations; without a pair the answer
    is 1. It holds for evaluations drawn like those seen; of programs unlike all of them nothing is known.
    Raises ``InputError`` for counts that cannot be.

    Source: I. J. Good, "The population frequencies of species and the estimation of population parameters",
    Biometrika 40 (1953), who has the idea from A. M. Turing.
    """
    if any(number < 0 for number in counts.values()) or sum(counts.values()) > pairs:
        raise InputError(f"{sum(counts.values())} mismatches cannot be among {pairs} pairs; count both alike")
    return sum(number == 1 for number in counts.values()) / pairs if pairs else 1.0
