"""What an epoch has counted, made up: one that every gate lets pass, to be spoiled by tests."""

from collections.abc import Mapping
from typing import Any

from crucible.rollout.assessment import ALL, Columns, EpochInputs, LegTimes, MutantCount, NoiseCount
from crucible.rollout.stage import Rollout, Stage
from crucible.settings import GateSettings

SETTINGS = GateSettings.model_construct()
"""The settings as they come, whatever the environment says."""

CANARY = Rollout(stage=Stage.CANARY, share=5, epoch=3)
FAST = LegTimes(pairs=800, legacy_low=0.1, celery_high=0.12)
GOOD: dict[str, Any] = {
    "epoch": 3,
    "seq": 1000,
    "mutants": {"exit_code": MutantCount(planted=30, caught=30)},
    "pairs_since_mutant": 12,
    "noise": NoiseCount(reruns=40, only_celery=1, only_legacy=1),
    "execution": FAST,
    "waiting_time": FAST,
}


def columns(matched: int = 0, **others: int) -> Columns:
    """Columns that add up."""
    return Columns(submitted=matched + sum(others.values()), matched=matched, **others)


def strata(languages: Mapping[str, Columns], **tags: Columns) -> dict[str, Columns]:
    """Strata of languages, all of them together, and tags."""
    names = Columns.model_fields
    everything = Columns(**{name: sum(getattr(each, name) for each in languages.values()) for name in names})
    found = {f"language:{name}": each for name, each in languages.items()}
    return {ALL: everything, **found, **{f"tag:{name}": each for name, each in tags.items()}}


def inputs(languages: Mapping[str, Columns] | None = None, **changes: Any) -> EpochInputs:
    """An epoch that passes, but for ``changes``."""
    counted = strata(languages or {"python": columns(800), "c": columns(400)})
    return EpochInputs(**{"strata": counted, **GOOD, **changes})
