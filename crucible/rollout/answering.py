"""Whose observation is the answer. Celery's only where it has the authority and nobody contradicts it."""

from crucible.models import Classification, Comparison, Leg
from crucible.rollout.stage import Route

_AGREED = (Classification.MATCH, Classification.NOT_SAMPLED)


def authority(route: Route, revoked: int) -> Leg:
    """Who answers an evaluation so routed, now that stamps up to version ``revoked`` have lost Celery's."""
    return "legacy" if route.version <= revoked else route.authority


def answered_by(route: Route, comparison: Comparison, revoked: int) -> Leg | None:
    """The leg that answers, or null where the one that has to has no answer.

    Where both ran and disagree legacy answers: it is what users had before. Where Celery should answer and
    cannot, legacy does, if it ran.
    """
    who = authority(route, revoked)
    if who == "celery" and comparison.celery is not None and comparison.classification in _AGREED:
        return "celery"
    return "legacy" if comparison.legacy is not None else None


def is_orphaned(route: Route, comparison: Comparison, revoked: int) -> bool:
    """Whether legacy must run this first: only Celery did, and its answer is missing or no longer wanted."""
    if comparison.legacy is not None or "legacy" in route.legs:
        return False
    if comparison.classification is Classification.CANCELLED:
        return False
    return comparison.celery is None or authority(route, revoked) == "legacy"


def is_critical(comparison: Comparison) -> bool:
    """Whether one confirmed case is enough to turn back.

    So it is where success and failure are taken for each other, and where Celery has lost an evaluation that
    legacy answered.
    """
    if comparison.legacy is None:
        return False
    if comparison.celery is None:
        return True
    return (comparison.legacy.exit_code == 0) != (comparison.celery.exit_code == 0)
