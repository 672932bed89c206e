"""What one compared evaluation says for or against parity, and what that does to detectors.

Settling and verifying both go through here, so that they cannot drift apart.
"""

import math
from typing import Any, NamedTuple

from crucible.compare import MutantKind, is_caught, mutant_for
from crucible.evidence import Detector
from crucible.models import Classification, Comparison, Evaluation, Observation
from crucible.rollout.epoch import Epoch, EpochKey
from crucible.rollout.stage import Route, is_critical

Detectors = dict[str, Detector]
"""The detectors of one epoch by stratum, those that have seen a pair."""


class Pair(NamedTuple):
    """One pair as evidence.

    Where legacy gave no answer, or a rule keeps such evaluations on legacy, a mismatch counts against parity
    and not against Celery.
    """

    epoch: int
    evaluation_id: str
    strata: tuple[str, ...]
    mismatch: bool
    against_celery: bool
    critical: bool


def is_evidence(comparison: Comparison) -> bool:
    """Whether this counts for or against parity: a mismatch does once it was run again."""
    kind = comparison.classification
    return kind in (Classification.MATCH, Classification.UNPAIRED) or (
        kind is Classification.MISMATCH and comparison.reruns > 0
    )


def pair_of(route: Route, comparison: Comparison) -> Pair:
    """What ``comparison`` is as evidence."""
    mismatch = comparison.classification is not Classification.MATCH
    return Pair(
        epoch=route.epoch,
        evaluation_id=comparison.evaluation_id,
        strata=route.strata,
        mismatch=mismatch,
        against_celery=mismatch and comparison.legacy is not None and not route.kept,
        critical=mismatch and is_critical(comparison) and not route.kept,
    )


def advance(known: Detectors, pair: Pair, epoch: Epoch) -> tuple[str, ...]:
    """Show ``pair`` to the detectors ``known``; returns the strata of the pair in which one alarms now.

    Many strata share one budget of false alarms: with k detectors each needs k times the evidence.
    """
    for stratum in pair.strata:
        before = known.get(stratum) or Detector(epoch.key.detector)
        known[stratum] = before.after(mismatch=pair.against_celery)
    share = math.log(len(known)) if known else 0.0
    return tuple(each for each in pair.strata if known[each].exceeds(share))


def grounds(known: Detectors, pair: Pair, alarmed: tuple[str, ...], seq: int) -> dict[str, Any]:
    """What is written down when the migration turns back at ``pair``, which is evidence number ``seq``."""
    return {
        "position": seq,
        "evaluation_id": pair.evaluation_id,
        "critical": pair.critical,
        "alarmed": list(alarmed),
        "log_m": {each: known[each].log_m for each in pair.strata},
    }


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
