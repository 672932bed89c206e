"""One answer from many strata: GO takes all of them, and none may be missing."""

from collections.abc import Mapping
from dataclasses import dataclass

from crucible.evidence.parity import Evidence, Question, evidence


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
