"""What goes into the ledger and what is read from it."""

from datetime import datetime
from typing import Literal, NamedTuple

from crucible.models import Classification, Comparison, Evaluation, Leg, Observation
from crucible.models.frozen import Frozen


class Submission(NamedTuple):
    """An evaluation under the id it will have in the ledger.

    ``classification`` is given where it is settled by being submitted: nobody here runs its language.
    """

    id: str
    evaluation: Evaluation
    sweep_id: str | None = None
    classification: Literal[Classification.NOT_SAMPLED] | None = None


class LedgerRow(Frozen):
    """One evaluation in the ledger. ``name`` is the author's id; what is null has not happened yet."""

    id: str
    name: str
    sweep_id: str | None
    language: str
    submitted_at: datetime
    settled_at: datetime | None
    classification: Classification | None
    comparison: Comparison | None


class RunObservation(NamedTuple):
    """What one leg saw in one run; run 0 is the first, the confirming re-runs count from 1."""

    run: int
    leg: Leg
    observation: Observation


class Timing(NamedTuple):
    """How long one evaluation ran on each leg, in seconds of wall time."""

    name: str
    language: str
    legacy_s: float
    celery_s: float
