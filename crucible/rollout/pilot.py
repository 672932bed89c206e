"""The migration driven by itself: a step ahead whenever the gates allow it, and an end after a rollback."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from crucible.errors import GateRefused, RolloutConflict
from crucible.rollout.assessment import Assessment
from crucible.rollout.stage import Rollout, Stage


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
