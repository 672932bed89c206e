"""Old evaluations go by themselves, once a day."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from crucible.store import Store, sqlite_url
from flows.duties.retention import Retention
from tests.support.traffic import mismatched

OLD_SOON = 1e-9


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


async def left(store: Store) -> int:
    """How many evaluations there are."""
    return (await store.measured()).evaluations


async def test_what_is_old_goes_once_a_day_whoever_has_the_duty(store: Store) -> None:
    await mismatched(store, 3)
    await Retention(store.retention, OLD_SOON).round()
    assert await left(store) == 0
    assert not await store.retention.is_due(timedelta(days=1)), "it was today"

    await mismatched(store, 2)
    await Retention(store.retention, OLD_SOON).round()

    assert await left(store) == 2, "not again today"
    assert (await store.rollout.verify()).faults == ()


async def test_what_is_young_stays(store: Store) -> None:
    await mismatched(store, 2)
    await Retention(store.retention, 1).round()
    assert await left(store) == 2
