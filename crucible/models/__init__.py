"""Frozen values: what goes in, what was seen, and what follows from it."""

from crucible.models.comparison import (
    LEGS,
    Classification,
    Comparison,
    Difference,
    Field,
    Leg,
    Observation,
    Outcome,
)
from crucible.models.evaluation import Evaluation, Expectation, Limits
from crucible.models.sweep import Cause, Counts, SweepReport, Verdict

__all__ = [
    "LEGS",
    "Cause",
    "Classification",
    "Comparison",
    "Counts",
    "Difference",
    "Evaluation",
    "Expectation",
    "Field",
    "Leg",
    "Limits",
    "Observation",
    "Outcome",
    "SweepReport",
    "Verdict",
]
