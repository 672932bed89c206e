"""Faults planted in what was observed, to see that the comparison still notices. No answer is touched."""

from typing import NamedTuple

from crucible.models import Classification, Comparison, Evaluation, Observation
from crucible.mutants import MutantKind, is_caught, mutant_for
from crucible.rollout.epoch import EpochKey


class Planted(NamedTuple):
    """The kind of fault that was planted beside a pair, and whether it was noticed."""

    kind: MutantKind
    caught: bool


def carries_fault(key: EpochKey, comparison: Comparison) -> bool:
    """Whether a fault is to be planted beside this pair; only beside pairs that matched."""
    return _fault(key, comparison) is not None


def planted_in(key: EpochKey, comparison: Comparison, evaluation: Evaluation) -> Planted | None:
    """What was planted beside a pair, if anything, and whether the comparison noticed.

    A ``duplicate`` is caught only once the store has refused it, so until then it is not.
    """
    found = _fault(key, comparison)
    if found is None or comparison.legacy is None:
        return None
    kind, mutated = found
    if kind is MutantKind.DUPLICATE:
        return Planted(kind, caught=False)
    return Planted(kind, caught=is_caught(kind, evaluation, comparison.legacy, mutated, key.rules))


def _fault(key: EpochKey, comparison: Comparison) -> tuple[MutantKind, Observation] | None:
    """Drawn from the evaluation's id, so that anyone can draw it again."""
    matched = comparison.classification is Classification.MATCH
    if not matched or comparison.legacy is None or comparison.celery is None:
        return None
    drawn = comparison.evaluation_id
    return mutant_for(drawn, drawn, comparison.celery, key.policy.mutant_share)
