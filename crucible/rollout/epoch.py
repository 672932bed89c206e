"""The span over which evidence may be added up, and the log of changes of the migration."""

from datetime import date, datetime
from hashlib import sha256
from typing import Any

import orjson
from pydantic import Field

from crucible.evidence import DetectorSettings
from crucible.models import Evaluation, Limits
from crucible.models.frozen import Frozen
from crucible.normalise import RuleSet
from crucible.rollout.assessment import ALL
from crucible.rollout.stage import Rollout
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


ITSELF = "crucible"
"""Who the log names for what happens by itself."""

GENESIS = "0" * 64
"""What stands for the hash of the entry before the first."""


class AuditEntry(Frozen):
    """One change. ``seq`` counts from 1; ``evidence_seq`` is the position of the evidence it was made at.

    ``grounds`` holds what decided it: the assessment of the gates for a step ahead, the alarm for a way back.
    ``hash`` covers everything else and the hash before.
    """

    seq: int
    at: datetime
    actor: str
    action: str
    reason: str
    before: Rollout
    after: Rollout
    evidence_seq: int
    grounds: dict[str, Any]
    previous: str = GENESIS
    hash: str = ""


def sealed(entry: AuditEntry, previous: str) -> AuditEntry:
    """``entry`` as the successor of the one whose hash is ``previous``."""
    linked = entry.model_copy(update={"previous": previous})
    return linked.model_copy(update={"hash": digest(linked)})


def digest(entry: AuditEntry) -> str:
    """SHA-256 over the canonical JSON of everything but the hash itself."""
    return sha256(canonical(entry.model_dump(mode="json", exclude={"hash"}))).hexdigest()


def canonical(document: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def broken_links(entries: list[AuditEntry]) -> list[str]:
    """One sentence for each entry that is not what its hash, or its successor, says it was."""
    faults, previous = [], GENESIS
    for number, entry in enumerate(entries, 1):
        if entry.seq != number:
            faults.append(f"audit entry {number} is missing: {entry.seq} follows {number - 1}")
            return faults
        if entry.previous != previous:
            faults.append(f"audit entry {entry.seq} does not follow the one before it")
        if entry.hash != digest(entry):
            faults.append(f"audit entry {entry.seq} was altered after it was written")
        previous = entry.hash
    return faults
