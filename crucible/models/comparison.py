"""Two observations laid side by side."""

from enum import StrEnum

import pydantic

from crucible.models.frozen import Frozen
from crucible.models.observation import Leg, Observation


class Classification(StrEnum):
    """Where an evaluation ends in the ledger."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NONDETERMINISTIC = "nondeterministic"
    UNPAIRED = "unpaired"
    CANCELLED = "cancelled"
    NOT_SAMPLED = "not_sampled"


class Field(StrEnum):
    """What is compared, in the order in which a reader cares."""

    OUTCOME = "outcome"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    STDOUT = "stdout"
    STDERR = "stderr"


class Difference(Frozen):
    """One field on which the legs disagree. Streams are given as base64, the rest as text."""

    field: Field
    legacy: str
    celery: str


class Comparison(Frozen):
    """One evaluation, seen by both legs.

    ``evaluation_id`` is Crucible's own id (unique over all sweeps); ``name`` is the author's id.
    ``missed_expectations`` is one sentence for each assertion of the author that both legs
    agree in not meeting. ``reasons`` says why a side is missing, by leg. ``reruns`` counts the
    confirming runs that went into the classification.

    ``normalised_by`` names the rules without which the sides would differ; their raw bytes are kept.
    ``cause`` is the fingerprint of a mismatch. ``answered_by`` is the leg whose observation is the answer,
    for evaluations that came in as traffic. ``waited_s`` is how long each leg took beside the program's own
    time.
    """

    evaluation_id: str
    name: str
    language: str
    classification: Classification
    differences: tuple[Difference, ...] = ()
    legacy: Observation | None = None
    celery: Observation | None = None
    missed_expectations: tuple[str, ...] = ()
    reasons: dict[Leg, str] = pydantic.Field(default_factory=dict)
    reruns: int = 0
    flow_run_ids: tuple[str, ...] = ()
    normalised_by: tuple[str, ...] = ()
    cause: str | None = None
    answered_by: Leg | None = None
    waited_s: dict[Leg, float] = pydantic.Field(default_factory=dict)

    @property
    def unexpected(self) -> bool:
        """Whether both legs agree with each other and not with the author."""
        return self.classification is Classification.MATCH and bool(self.missed_expectations)
