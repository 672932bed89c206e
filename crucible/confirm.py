"""What repeated runs say of a mismatch.

Two rules, by what the author declared:

* Nothing declared: noise only if legacy disagrees with itself *and* Celery's answer is one that
  legacy gives too. A steady legacy with a varying Celery is a regression.
* ``deterministic: false``: the author says that runs may differ. It stays a mismatch only where a
  compared field held still on both legs, at different values, over all runs: what never varies is
  not noise.

Answers are compared as pairs are: what rules overlook makes no two of them differ.
"""

from collections.abc import Sequence

from crucible.compare import answer
from crucible.models import Classification, Comparison, Evaluation, Observation
from crucible.normalise import NO_RULES, RuleSet

DECLARED_RUNS = 8
"""Runs after which a declared program that never varied is believed not to vary (two fair coins
hold still over nine runs each with probability 2**-16)."""


def is_settled(
    evaluation: Evaluation,
    legacy: Sequence[Observation],
    celery: Sequence[Observation],
    planned: int,
    rules: RuleSet = NO_RULES,
) -> bool:
    """Whether further runs could still change the classification.

    ``planned`` is how many re-runs every mismatch gets. A declared program that has not varied yet
    gets up to ``DECLARED_RUNS``.
    """
    if min(len(legacy), len(celery)) <= planned:
        return False
    if not evaluation.declared_nondeterministic:
        return True
    steady = classify(evaluation, legacy, celery, rules) is Classification.MISMATCH
    return not steady or min(len(legacy), len(celery)) > DECLARED_RUNS


def classify(
    evaluation: Evaluation,
    legacy: Sequence[Observation],
    celery: Sequence[Observation],
    rules: RuleSet = NO_RULES,
) -> Classification:
    """Classify a mismatch from all runs of each leg, the first pair being the one that differed.

    ``rules`` are those it was compared under.
    """
    applied = rules.applied_to(evaluation.language)
    legacy_answers = [answer(seen, applied) for seen in legacy]
    celery_answers = [answer(seen, applied) for seen in celery]
    if evaluation.declared_nondeterministic:
        steady_difference = any(
            len(set(left)) == 1 and len(set(right)) == 1 and left[0] != right[0]
            for left, right in zip(
                zip(*legacy_answers, strict=True), zip(*celery_answers, strict=True), strict=True
            )
        )
        return Classification.MISMATCH if steady_difference else Classification.NONDETERMINISTIC
    varies = len(set(legacy_answers)) > 1
    if varies and celery_answers[0] in legacy_answers:
        return Classification.NONDETERMINISTIC
    return Classification.MISMATCH


def confirmed(
    evaluation: Evaluation,
    first: Comparison,
    legacy: Sequence[Observation],
    celery: Sequence[Observation],
    rules: RuleSet = NO_RULES,
) -> Comparison:
    """``first``, classified in the light of its re-runs (both sequences without the first pair)."""
    if first.legacy is None or first.celery is None:
        return first
    return first.model_copy(
        update={
            "classification": classify(evaluation, [first.legacy, *legacy], [first.celery, *celery], rules),
            "reruns": max(len(legacy), len(celery)),
        }
    )
