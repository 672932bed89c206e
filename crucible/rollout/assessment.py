"""What gates answer."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from crucible.models.frozen import Frozen

Number = Annotated[int, Field(ge=0)]

ALL = "all"
"""The stratum that has every evaluation; others are ``language:python``, ``tag:nightly``."""


class Columns(Frozen):
    """The ledger of one stratum. ``submitted`` is the sum of all others; the store refuses anything else."""

    submitted: Number = 0
    waiting: Number = 0
    matched: Number = 0
    mismatched: Number = 0
    nondeterministic: Number = 0
    unpaired: Number = 0
    cancelled: Number = 0
    not_sampled: Number = 0

    @property
    def pairs(self) -> int:
        """What counts for or against parity: an evaluation without an answer counts against it."""
        return self.matched + self.mismatches

    @property
    def mismatches(self) -> int:
        """Pairs against parity."""
        return self.mismatched + self.unpaired


class MutantCount(Frozen):
    """Faults of one kind that were planted, and how many of them the comparison caught."""

    planted: Number = 0
    caught: Number = 0


class NoiseCount(Frozen):
    """Legacy re-runs drawn at random: what differed, of the first answers and the second of legacy."""

    reruns: Number = 0
    only_celery: Number = 0
    only_legacy: Number = 0


class LegTimes(Frozen):
    """One quantity of both legs in seconds: the values at the ranks that bound legacy's and Celery's p95.

    ``legacy_low`` is the value at legacy's lower rank, ``celery_high`` the one at Celery's upper rank, each
    rounded against Celery by at most 1 %; null while there are too few pairs for such a rank.
    ``pairs`` is how many both legs ran.
    """

    pairs: Number = 0
    legacy_low: float | None = None
    celery_high: float | None = None


class EpochInputs(Frozen):
    """Everything counted in epoch ``epoch`` up to position ``seq`` of the evidence.

    ``overdue`` evaluations have waited for their column longer than they may. ``unconfirmed`` mismatches have
    not been run again yet; until then they count as mismatches. ``pairs_since_mutant`` counts pairs since the
    last planted fault. ``causes`` has the mismatches by fingerprint, the commonest first.
    """

    epoch: Number
    seq: Number = 0
    strata: Mapping[str, Columns] = {}
    overdue: Number = 0
    unconfirmed: Number = 0
    mutants: Mapping[str, MutantCount] = {}
    pairs_since_mutant: Number = 0
    noise: NoiseCount = NoiseCount()
    rule_uses: Mapping[str, Number] = {}
    execution: LegTimes = LegTimes()
    waiting_time: LegTimes = LegTimes()
    causes: Mapping[str, Number] = {}


class GateState(StrEnum):
    """``waiting`` mends itself as evaluations come in; ``blocked`` takes somebody who does something."""

    GO = "go"
    WAITING = "waiting"
    BLOCKED = "blocked"


class GateResult(Frozen):
    """One gate: its state, the reason in one sentence, and the numbers that it rests on.

    ``pairs_to_go`` among the numbers is how many more pairs it takes as things go; null for never.
    """

    name: str
    state: GateState
    reason: str
    numbers: Mapping[str, int | float | None] = {}


class StratumEvidence(Frozen):
    """The evidence for parity in one stratum.

    ``mismatch_rate_upper`` bounds the rate at all looks together. ``pairs_to_go`` is null for never at the
    present rate, 0 once there. ``not_sampled_share`` is the part of evaluations that Celery never saw: they
    are evidence of nothing. ``kept`` says that a rule keeps the stratum on legacy, so that it needs none.
    """

    e_value: float
    mismatch_rate_upper: float
    pairs_to_go: int | None
    not_sampled_share: float
    kept: bool = False


class Assessment(Frozen):
    """What all gates say of one moment."""

    gates: tuple[GateResult, ...]
    strata: Mapping[str, StratumEvidence] = {}
    go: bool = False

    @property
    def refusing(self) -> tuple[GateResult, ...]:
        """The gates that say no GO."""
        return tuple(gate for gate in self.gates if gate.state is not GateState.GO)

    def gate(self, name: str) -> GateResult:
        """The gate called ``name``; raises ``KeyError`` when there is none."""
        for result in self.gates:
            if result.name == name:
                return result
        raise KeyError(name)


def result(name: str, answer: tuple[GateState, str], **numbers: float | None) -> GateResult:
    """The gate ``name`` with its answer, a state and the reason, and ``numbers``."""
    state, reason = answer
    return GateResult(name=name, state=state, reason=reason, numbers=numbers)
