"""What is looked at, and when, so that a row can be written."""

import asyncio
import re
import time
from collections import Counter
from contextlib import suppress

import redis

from crucible.store import Store
from tests.chaos.stack import EXECUTORS, Stack
from tests.support.programs import processes_with

_CLAIM = re.compile(rb"crucible:claim:(ev-[^.]+)\.\d+:")
_PROGRAMS_GO_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.1


def in_hand(stack: Stack) -> set[str]:
    """Evaluations that some worker has claimed."""
    with suppress(redis.RedisError), stack.redis("redis") as client:
        found = (_CLAIM.match(key) for key in client.scan_iter("crucible:claim:*", count=1000))
        return {match[1].decode() for match in found if match}
    return set()


def answers_dropped(stack: Stack) -> int:
    """Answers that came second, since that Redis was last emptied."""
    with suppress(redis.RedisError), stack.redis("redis") as client:
        return sum(int(each) for each in client.hvals("crucible:duplicates"))  # type: ignore[union-attr]
    return 0


def run_twice(stack: Stack) -> int:
    """Runs for which more than one executor of a leg was asked; one that was restarted is another."""
    asked: Counter[tuple[str, str]] = Counter()
    for name in EXECUTORS:
        leg = "celery" if name == EXECUTORS[-1] else "legacy"
        asked.update((leg, run_id) for run_id, _life in stack.doors[name].runs)
    return sum(number > 1 for number in asked.values())


async def programs_left(marker: str) -> int:
    """Programs that still run although nobody waits for them any more."""
    deadline = time.monotonic() + _PROGRAMS_GO_WITHIN_S
    while left := await asyncio.to_thread(processes_with, marker):
        if time.monotonic() > deadline:
            return len(left)
        await asyncio.sleep(_LOOK_EVERY_S)
    return 0


async def counted_by_product(stack: Stack, sweep_id: str) -> dict[str, int]:
    """The sweep's ledger as the product counts it."""
    store = await Store.open(stack.state.database_url)
    try:
        counts = await store.counts(sweep_id)
        return counts.model_dump() | {"balanced": counts.balanced}
    finally:
        await store.close()
