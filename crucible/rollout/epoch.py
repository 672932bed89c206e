"""The span over which evidence may be added up: the same builds, rules, limits and policy throughout."""

from datetime import date, datetime

from pydantic import Field

from crucible.evidence import DetectorSettings
from crucible.models import Evaluation, Limits
from crucible.models.frozen import Frozen
from crucible.normalise import RuleSet
from crucible.rollout.assessment import ALL
from crucible.settings import GateSettings


class EpochKey(Frozen):
    """What must stay the same. Builds say what an executor is made of; ``policy`` is how is decided.

    ``generation`` tells epochs apart that an operator opened although nothing else had changed.
    """

    legacy_build: str = ""
    celery_build: str = ""
    rules: RuleSet = RuleSet()
    limits: Limits = Limits()
    policy: GateSettings = Field(default_factory=GateSettings.model_construct)
    generation: int = 0

    @property
    def detector(self) -> DetectorSettings:
        """What the detectors of this epoch look for."""
        return DetectorSettings(self.policy.p_ok, self.policy.p1, self.policy.alarm_at)

    @property
    def budgets(self) -> dict[str, float]:
        """The part of pairs for which each rule may be needed."""
        return {rule.name: rule.budget for rule in self.rules.rules}

    def expired(self, today: date) -> tuple[str, ...]:
        """The rules whose time is over."""
        return tuple(rule.name for rule in self.rules.rules if rule.expires <= today)

    def is_same_as(self, other: "EpochKey") -> bool:
        """Whether evidence under both may be added up; generations apart."""
        return self.model_copy(update={"generation": other.generation}) == other


class Epoch(Frozen):
    """One epoch, numbered from 0 in the order of opening."""

    number: int
    opened_at: datetime
    key: EpochKey


def strata_of(evaluation: Evaluation, tags: tuple[str, ...]) -> tuple[str, ...]:
    """The strata an evaluation belongs to, in a fixed order; ``tags`` are those that make strata."""
    own = [f"tag:{tag}" for tag in sorted(set(tags) & set(evaluation.tags))]
    return (ALL, f"language:{evaluation.language}", *own)
