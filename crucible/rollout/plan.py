"""The way ahead, step by step."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from crucible.errors import GateRefused, RolloutConflict
from crucible.models.frozen import Frozen
from crucible.rollout.assessment import Assessment, GateResult
from crucible.rollout.gates import STATE
from crucible.rollout.stage import Rollout, Stage
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
