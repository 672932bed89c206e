"""Old evaluations go by themselves, once a day, where a retention is set."""

import asyncio
from datetime import timedelta

from api.pruner import Pruner

from crucible.settings import RetentionSettings
from crucible.store import Store
from tests.support.traffic import mismatched


async def left(store: Store) -> int:
    return (await store.measured()).evaluations


async def test_without_a_retention_nothing_goes_and_nobody_looks(store: Store) -> None:
    await mismatched(store, 2)

    await Pruner(store.retention, RetentionSettings(days=None)).run()

    assert await left(store) == 2
    assert await store.retention.is_due(timedelta(days=1)), "nobody has begun"


async def test_of_two_processes_one_lets_go_what_is_old(store: Store) -> None:
    await mismatched(store, 3)
    settings = RetentionSettings(days=1e-9)
    running = [asyncio.create_task(Pruner(store.retention, settings).run()) for _ in range(2)]
    async with asyncio.timeout(30):
        while await left(store):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)

    assert not await store.retention.is_due(timedelta(days=1)), "it was today"
    assert (await store.rollout.verify()).faults == ()
