"""Letting all that is old go, step by step, so that nobody has to wait for it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from crucible.store.retention import RetentionStore

_BETWEEN_STEPS_S = 0.05


class Pruned(NamedTuple):
    """How many pairs were verified and closed, and how many evaluations went."""

    closed: int
    let_go: int


async def prune(
    retention: RetentionStore, before: datetime, on_step: Callable[[Pruned], None] | None = None
) -> Pruned:
    """Let go what was settled before a moment; raises as ``RetentionStore.close`` does, keeping what is done.

    ``on_step`` is told the sums so far.
    """
    done = Pruned(0, 0)
    while closed := await retention.close(before):
        done = _told(done._replace(closed=done.closed + closed), on_step)
    after_id: str | None = ""
    while after_id is not None:
        step = await retention.let_go(before, after_id)
        after_id = step.after_id
        done = _told(done._replace(let_go=done.let_go + step.number), on_step)
        await asyncio.sleep(_BETWEEN_STEPS_S)
    return done


def _told(done: Pruned, on_step: Callable[[Pruned], None] | None) -> Pruned:
    if on_step is not None:
        on_step(done)
    return done
