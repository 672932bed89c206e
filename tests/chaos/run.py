"""One fault from beginning to end: a sweep, the strike, and what the books say afterwards."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos import measuring
from tests.chaos.books import Books
from tests.chaos.corpus import write_corpus
from tests.chaos.deployment import DeployedSweep
from tests.chaos.fault import Fault, Scene
from tests.chaos.findings import Row
from tests.chaos.stack import ChaosError, Stack
from tests.chaos.sweeping import Sweep
from tests.chaos.traffic import traffic_to
from tests.chaos.verdict import Seen, row_of

_UNDER_WAY = (0.1, 0.3)
"""The part of a sweep that is settled when a fault strikes; chance says which."""
_STARTS_WITHIN_S = 120
_WHOLE_WITHIN_S = 90
_ENDS_WITHIN_S = 300
_SETTLED_WITHIN_S = 180
_LOOK_EVERY_S = 0.1
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Order:
    """How large the sweep is, and what makes chance repeatable."""

    evaluations: int
    seed: int


async def run(stack: Stack, fault: Fault, order: Order) -> Row:
    """Strike in the middle of a sweep, and say what came of it. The stack should be whole afterwards."""
    began = time.monotonic()
    chance = Random(f"{order.seed} {fault.name}")
    marker = f"chaos-{stack.state.pid}-{next(_numbers)}"
    corpus = write_corpus(
        stack.home / f"corpus-{next(_numbers)}.jsonl", order.evaluations, marker, chance.randrange(2**32)
    )
    await stack.becomes_whole(_WHOLE_WITHIN_S)
    for door in stack.doors.values():
        door.runs.clear()
    books, dropped = stack.books.from_now(), measuring.answers_dropped(stack)
    with books.watched():
        async with traffic_to(stack.state, marker) as traffic, _sweep(stack, fault, corpus) as sweep:
            scene = Scene(stack, sweep, traffic, books, chance)
            await _under_way(books, sweep, int(order.evaluations * chance.uniform(*_UNDER_WAY)))
            await traffic.post(fault.posted)
            in_hand = await asyncio.to_thread(measuring.in_hand, stack)
            await fault.strike(scene)
            lifted_at = time.time()
            recovered_s = await traffic.recovered(fault.bound_s + _WHOLE_WITHIN_S)
            has_ended = await sweep.ends(_ENDS_WITHIN_S)
            await _settled(books)
            seen = Seen(
                fault=fault,
                evaluations=order.evaluations,
                accepted=traffic.accepted,
                how=sweep.how,
                said=sweep.said,
                printed_besides=sweep.printed_besides,
                document=sweep.document if has_ended else None,
                in_hand=in_hand,
                lifted_at=lifted_at,
                recovered_s=recovered_s,
                dropped=max(0, measuring.answers_dropped(stack) - dropped),
                programs_left=await measuring.programs_left(marker),
                run_twice=measuring.run_twice(stack),
                is_whole=await stack.becomes_whole(_WHOLE_WITHIN_S),
                counted=await measuring.counted_by_product(stack, books.sweep_id() or ""),
            )
            return await asyncio.to_thread(row_of, seen, books, time.monotonic() - began)


@asynccontextmanager
async def _sweep(stack: Stack, fault: Fault, corpus: Path) -> AsyncIterator[Sweep | DeployedSweep]:
    kind = DeployedSweep if fault.by_deployment else Sweep
    sweep = await kind.started(stack, corpus)
    try:
        yield sweep
    finally:
        await sweep.close()


async def _under_way(books: Books, sweep: Sweep | DeployedSweep, settled: int) -> None:
    async with asyncio.timeout(_STARTS_WITHIN_S):
        while True:
            columns = await asyncio.to_thread(books.columns, books.sweep_id())
            if columns[None] and columns.total() - columns[None] >= settled:
                return
            if sweep.has_ended:
                raise ChaosError(f"the sweep ended before anything could strike: {sweep.how} {sweep.said}")
            await asyncio.sleep(_LOOK_EVERY_S)


async def _settled(books: Books) -> None:
    """Returns when nothing is open, or when it has been given time enough."""
    deadline = time.monotonic() + _SETTLED_WITHIN_S
    while await asyncio.to_thread(books.open_ids) and time.monotonic() < deadline:  # noqa: ASYNC110 (in others' hands)
        await asyncio.sleep(_LOOK_EVERY_S)
