"""Where the migration stands and what stands in its way, in one document."""

import math
from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

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
from crucible.rollout.audit import AuditEntry
from crucible.rollout.plan import Step
from crucible.rollout.stage import Rollout, RouteRule, Stage


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
