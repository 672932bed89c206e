"""Where the migration stands, what stands in its way, and which steps are ahead, in one document."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from pydantic import Field

from crucible.errors import GateRefused, RolloutConflict
from crucible.models.frozen import Frozen
from crucible.rollout.assessment import (
    Assessment,
    Columns,
    EpochInputs,
    GateResult,
    LegTimes,
    MutantCount,
    NoiseCount,
)
from crucible.rollout.epoch import AuditEntry
from crucible.rollout.gates import STATE
from crucible.rollout.stage import Rollout, RouteRule, Stage
from crucible.settings import GateSettings


class Step(Frozen):
    """A stage to go to and Celery's share of the answers there, in percent.

    Only to begin shadowing ``needs_go`` is false: legacy answers as before, and without it there is no
    evidence.
    """

    stage: Stage
    share: float
    needs_go: bool = True


def next_step(rollout: Rollout, settings: GateSettings) -> Step | None:
    """The one step that ``advance`` would take; null at the end of the way."""
    return next(iter(plan(rollout, settings)), None)


def plan(rollout: Rollout, settings: GateSettings) -> tuple[Step, ...]:
    """All steps from here to Celery alone."""
    way = (
        Step(stage=Stage.SHADOW, share=0, needs_go=False),
        *(Step(stage=Stage.CANARY, share=share) for share in settings.canary_steps),
        Step(stage=Stage.LIVE, share=100),
        Step(stage=Stage.CELERY, share=100),
    )
    return tuple(step for step in way if _is_ahead(step, rollout))


def in_the_way(step: Step, assessment: Assessment) -> tuple[GateResult, ...]:
    """The gates that refuse ``step``; none where it may be taken.

    The state of the migration is always asked, so that nothing goes forward in a spent epoch or while held.
    """
    return tuple(gate for gate in assessment.refusing if step.needs_go or gate.name == STATE)


def _is_ahead(step: Step, rollout: Rollout) -> bool:
    if step.stage is rollout.stage is Stage.CANARY:
        return step.share > rollout.share
    return step.stage.rank > rollout.stage.rank


class Books(Protocol):
    """What the pilot needs of the store."""

    async def state(self) -> Rollout:
        """Where the migration stands."""

    async def advance(self, actor: str, reason: str, version: int | None = None) -> object:
        """One step ahead; raises ``GateRefused`` where the evidence does not allow it."""


class Moment(NamedTuple):
    """Where the migration stood when the pilot looked, and what refused the next step, if it was refused."""

    rollout: Rollout
    refused: Assessment | None = None


async def drive(
    books: Books, actor: str, reason: str, *, until: Stage, every_s: float
) -> AsyncIterator[Moment]:
    """Advance whenever the gates allow it, with ``every_s`` between two looks; yields each look.

    Ends at stage ``until``, and when the epoch has ended in a rollback: to go forward again takes a person.
    """
    while True:
        rollout = await books.state()
        if rollout.is_spent or rollout.stage.rank >= until.rank:
            yield Moment(rollout)
            return
        try:
            await books.advance(actor, reason, rollout.version)
        except GateRefused as refusal:
            found = refusal.assessment
            yield Moment(rollout, found if isinstance(found, Assessment) else None)
            await asyncio.sleep(every_s)
        except RolloutConflict:
            continue  # somebody else changed it: look again
        else:
            yield Moment(await books.state())


class StratumStatus(Columns):
    """The ledger of one stratum, and what it says about parity (see ``StratumEvidence``)."""

    e_value: float
    mismatch_rate_upper: float
    pairs_to_go: int | None
    not_sampled_share: float
    kept: bool


class MutantsStatus(Frozen):
    """Planted faults by kind, and how many pairs have passed since the last one."""

    kinds: Mapping[str, MutantCount]
    pairs_since: int


class LatencyStatus(Frozen):
    """The times of both legs, running and waiting apart, in seconds."""

    execution: LegTimes
    waiting: LegTimes


class DetectorStatus(Frozen):
    """How near the detectors are: the statistic of each stratum, and where it turns the migration back."""

    alarm_at: float
    statistics: Mapping[str, float]


class RolloutStatus(Frozen):
    """Everything somebody needs to decide.

    ``since``, ``changed_by`` and ``reason`` are of the last change; null while there was none. ``spent``: the
    epoch ended in a rollback. ``next`` is the step that ``advance`` would take, ``go`` whether all gates
    agree. ``causes`` counts mismatches by fingerprint, the commonest first.
    """

    stage: Stage
    share: float
    sample: float
    version: int
    epoch: int
    held: bool
    spent: bool
    rules: tuple[RouteRule, ...]
    since: datetime | None
    changed_by: str | None
    reason: str | None
    go: bool
    gates: tuple[GateResult, ...]
    strata: Mapping[str, StratumStatus]
    next: Step | None
    mutants: MutantsStatus
    noise: NoiseCount
    latency: LatencyStatus
    causes: Mapping[str, int] = Field(default_factory=dict)
    detector: DetectorStatus


def status(
    rollout: Rollout,
    inputs: EpochInputs,
    assessment: Assessment,
    step: Step | None,
    last: AuditEntry | None,
    detector: DetectorStatus,
) -> RolloutStatus:
    """The status of one moment: ``step`` is the next one, ``last`` the newest entry of the audit log."""
    return RolloutStatus(
        **rollout.model_dump(include={"stage", "share", "sample", "version", "epoch", "held"}),
        spent=rollout.is_spent,
        rules=rollout.rules,
        since=last and last.at,
        changed_by=last and last.actor,
        reason=last and last.reason,
        go=assessment.go,
        gates=assessment.gates,
        strata={
            name: StratumStatus(**inputs.strata.get(name, Columns()).model_dump(), **found.model_dump())
            for name, found in assessment.strata.items()
        },
        next=step,
        mutants=MutantsStatus(kinds=inputs.mutants, pairs_since=inputs.pairs_since_mutant),
        noise=inputs.noise,
        latency=LatencyStatus(execution=inputs.execution, waiting=inputs.waiting_time),
        causes=inputs.causes,
        detector=detector,
    )


def detector_status(log_m: Mapping[str, float], alarm_at: float) -> DetectorStatus:
    """The detectors whose statistics have the logarithms ``log_m``; they share a budget of false alarms.

    So each of them must reach their number times ``alarm_at``, the pairs between false alarms of all.
    """
    return DetectorStatus(
        alarm_at=alarm_at * max(1, len(log_m)),
        statistics={name: math.exp(value) for name, value in log_m.items()},
    )
