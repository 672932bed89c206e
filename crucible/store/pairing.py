"""What one compared evaluation says for or against parity, and what that does to detectors.

Settling and verifying both go through here, so that they cannot drift apart.
"""

import math
from typing import Any, NamedTuple

from crucible.evidence import Detector
from crucible.models import Classification, Comparison
from crucible.rollout.answering import is_critical
from crucible.rollout.epoch import Epoch
from crucible.rollout.stage import Route

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
