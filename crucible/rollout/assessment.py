"""What gates answer."""

from collections.abc import Mapping
from enum import StrEnum

from crucible.models.frozen import Frozen


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
