"""Where the migration stands, in the figures that a page draws. Pure."""

import math
from dataclasses import dataclass

from crucible.report.words import percent_up
from crucible.rollout.assessment import ALL, GateState
from crucible.rollout.stage import Stage
from crucible.rollout.status import RolloutStatus, StratumStatus
from crucible.rollout.strata import NAME as PARITY

SIGNS = {GateState.GO: "✓", GateState.WAITING: "…", GateState.BLOCKED: "✗"}

_LARGE = 9_999
_WHOLE = 100


@dataclass(frozen=True, slots=True)
class StratumView:
    """The evidence of one stratum. ``part`` is how far it is on its way to a GO, from 0 to 100."""

    name: str
    e_value: str
    part: int
    upper: str
    pairs: int
    against: int
    to_go: str


@dataclass(frozen=True, slots=True)
class MigrationView:
    """``stages`` has each stage and whether it is behind, present or ahead; ``detector`` is from 0 to 100."""

    stages: tuple[tuple[str, str], ...]
    threshold: float
    strata: tuple[StratumView, ...]
    detector: int
    answer: str
    refusing: tuple[str, ...]


def migration_view(status: RolloutStatus) -> MigrationView:
    """What a page draws of ``status``."""
    threshold = _threshold(status)
    refusing = _refusing(status)
    return MigrationView(
        stages=tuple((each.value, _place(each, status.stage)) for each in Stage),
        threshold=threshold,
        strata=tuple(_stratum(name, each, threshold) for name, each in status.strata.items()),
        detector=max(
            (_part(value, status.detector.alarm_at) for value in status.detector.statistics.values()),
            default=0,
        ),
        answer="end" if status.next is None else "not yet" if refusing else "go",
        refusing=refusing,
    )


def _refusing(status: RolloutStatus) -> tuple[str, ...]:
    found = tuple(gate.name for gate in status.gates if gate.state is not GateState.GO)
    if status.next is not None and not status.next.needs_go:
        return tuple(name for name in found if name == "state")
    return found


def _place(stage: Stage, present: Stage) -> str:
    if stage is present:
        return "present"
    return "behind" if stage.rank < present.rank else "ahead"


def _threshold(status: RolloutStatus) -> float:
    found = (gate.numbers.get("threshold") for gate in status.gates if gate.name == PARITY)
    return next(filter(None, found), math.inf)


def _stratum(name: str, each: StratumStatus, threshold: float) -> StratumView:
    return StratumView(
        name=name,
        e_value=f"{each.e_value:,.2f}" if each.e_value <= _LARGE else f"> {_LARGE:,}",
        part=_part(each.e_value, threshold),
        upper=percent_up(each.mismatch_rate_upper),
        pairs=each.pairs,
        against=each.mismatches,
        to_go=_to_go(name, each),
    )


def _part(value: float, whole: float) -> int:
    """How far a statistic that begins at 1 has come, on a scale of logarithms."""
    return min(_WHOLE, round(_WHOLE * math.log(max(value, 1.0)) / math.log(whole)))


def _to_go(name: str, each: StratumStatus) -> str:
    if each.kept:
        return "see languages" if name == ALL else "kept on legacy"
    if each.pairs_to_go is None:
        return "never at this rate"
    return f"{each.pairs_to_go:,} pairs to go" if each.pairs_to_go else "enough"
