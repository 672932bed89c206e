"""What goes into the ledger and what is read from it."""

from datetime import datetime
from typing import Literal, NamedTuple

from crucible.models import Classification, Comparison, Evaluation, Leg, Observation
from crucible.models.frozen import Frozen
from crucible.rollout.stage import Route

NOISE_RUN = 100
"""The number of legacy's random second run. It classifies nothing; confirming re-runs come before."""


class Submission(NamedTuple):
    """An evaluation under the id it will have in the ledger.

    ``classification`` is given where it is settled by being submitted: nobody here runs its language.
    ``is_traffic`` has the rollout decide who runs and answers it; all else runs on both legs, to be compared.
    ``reference`` is an evaluation whose recorded legacy answer Celery's is to be compared with. ``alone`` has
    traffic run on no other leg than the one that answers it, since there is too much of it.
    """

    id: str
    evaluation: Evaluation
    sweep_id: str | None = None
    classification: Literal[Classification.NOT_SAMPLED] | None = None
    is_traffic: bool = False
    reference: str | None = None
    alone: bool = False


class Ticket(NamedTuple):
    """An evaluation without column: Crucible's id, and the author's."""

    id: str
    name: str


class Work(NamedTuple):
    """An evaluation as a flow needs it. ``route`` is null where both legs run it without further ado.

    ``recorded`` is what legacy answered to the same program before, where that stands in for the legacy leg.
    ``traceparent`` is the root of its trace.
    """

    id: str
    evaluation: Evaluation
    route: Route | None = None
    recorded: Observation | None = None
    traceparent: str | None = None


class Settled(NamedTuple):
    """What came of settling.

    ``comparisons`` gave their evaluations a column by this call, and say who answered. ``earlier`` stand in
    the ledger since an earlier call, for evaluations that were given again. An ``orphaned`` evaluation stays
    open: only Celery ran it, which has no say any more or no answer, so legacy must run it.
    """

    comparisons: tuple[Comparison, ...]
    earlier: tuple[Comparison, ...]
    orphaned: tuple[Comparison, ...]


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
    route: Route | None = None
    traceparent: str | None = None


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
