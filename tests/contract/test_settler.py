"""What is settled survives every error of the store, and no comparison keeps another open."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crucible.errors import StoreError
from crucible.models import Comparison
from crucible.store import Store, sqlite_url
from tasks import settler as settler_module
from tasks.background import BackgroundServices, ServiceState
from tasks.batch import cancelled
from tasks.settler import Settler
from tests.support.faulty import PLANTED, Faulty
from tests.support.ledger import comparison
from tests.support.traffic import submitted
from tests.support.waiting import eventually

FOR_A_WHILE = 10**9


class Settling:
    """A settler over a real store whose ``settle`` fails when it is told to."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.told, self.poison = store, list[str](), ""
        self.earlier: list[Comparison] = []
        self.settle = Faulty(store.settle, self._has_poison)
        monkeypatch.setattr(store, "settle", self.settle)
        self.background = BackgroundServices()
        self.settler = Settler(store, self.tell, self.earlier.append, lambda: False)

    def tell(self, settled: Comparison) -> None:
        self.told.append(settled.evaluation_id)

    def put(self, ids: Sequence[str]) -> None:
        for each in ids:
            self.settler.put(comparison(each))

    @property
    def state(self) -> ServiceState:
        (state,) = self.background.states()
        return state

    def _has_poison(self, comparisons: Sequence[Comparison]) -> bool:
        return not self.poison or self.poison in [each.evaluation_id for each in comparisons]


@asynccontextmanager
async def opened(settling: Settling) -> AsyncIterator[Settler]:
    settling.settler.open(settling.background)
    yield settling.settler
    async with asyncio.timeout(60):
        await settling.settler.close()


@pytest.fixture
async def settling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Settling]:
    store = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield Settling(store, monkeypatch)
    await store.close()


async def still_open(store: Store, ids: Sequence[str]) -> list[str]:
    return [each.id for each in await store.evaluation_states(ids) if each.comparison is None]


async def test_an_error_nobody_has_seen_loses_nothing(settling: Settling) -> None:
    ids = await submitted(settling.store, 5)
    settling.settle.times = 1
    async with opened(settling) as settler, asyncio.timeout(60):
        settling.put(ids)
        await settler.flush()
    assert sorted(settling.told) == sorted(ids)
    assert await still_open(settling.store, ids) == []


async def test_a_store_that_fails_for_a_while_settles_all_of_it_afterwards(settling: Settling) -> None:
    ids = await submitted(settling.store, 5)
    settling.settle.times = FOR_A_WHILE
    async with opened(settling) as settler, asyncio.timeout(60):
        settling.put(ids)
        flushing = asyncio.create_task(settler.flush())
        await eventually(lambda: settling.state.failures > 2)
        assert PLANTED in (settling.state.last_error or "")
        assert not flushing.done()
        settling.settle.times = 0
        await flushing
        await eventually(lambda: settling.state.failing_s == 0)
    assert sorted(settling.told) == sorted(ids)


async def test_one_at_fault_keeps_no_other_open_and_is_given_up_with_the_reason(
    settling: Settling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler_module, "_WITHIN_S", 1.0)
    ids = await submitted(settling.store, 5)
    settling.settle.times, settling.poison = FOR_A_WHILE, ids[2]
    others = [each for each in ids if each != settling.poison]
    async with opened(settling) as settler, asyncio.timeout(60):
        settling.put(ids)
        await eventually(lambda: sorted(settling.told) == sorted(others))
        with pytest.raises(LookupError, match=PLANTED):
            await settler.flush()
        (later,) = await submitted(settling.store)
        settling.put([later])
        await settler.flush()
    assert await still_open(settling.store, [*ids, later]) == [settling.poison]


async def test_what_was_never_submitted_keeps_no_other_open(
    settling: Settling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler_module, "_WITHIN_S", 0.0)
    ids = await submitted(settling.store, 2)
    async with opened(settling) as settler, asyncio.timeout(60):
        settling.put([ids[0], "ev-unknown", ids[1]])
        with pytest.raises(StoreError, match="ev-unknown"):
            await settler.flush()
    assert await still_open(settling.store, ids) == []


async def test_one_who_listens_and_fails_keeps_it_from_nobody_else(settling: Settling) -> None:
    ids = await submitted(settling.store, 3)
    told: list[str] = []

    def fails_once(settled: Comparison) -> None:
        told.append(settled.evaluation_id)
        if len(told) == 1:
            raise LookupError(PLANTED)

    settling.settler = Settler(settling.store, fails_once, fails_once, lambda: False)
    async with opened(settling) as settler, asyncio.timeout(60):
        settling.put(ids)
        await settler.flush()
    assert sorted(told) == sorted(ids)


async def test_what_another_has_settled_earlier_is_told_as_it_stands_and_not_as_settled_now(
    settling: Settling,
) -> None:
    earlier, now = await submitted(settling.store, 2)
    stands = comparison(earlier)
    await settling.store.settle([stands])
    ((_, program),) = await settling.store.load([earlier])
    async with opened(settling) as settler, asyncio.timeout(60):
        settler.put(cancelled(earlier, program))
        settling.put([now])
        await settler.flush()
    assert settling.told == [now]
    assert [(each.evaluation_id, each.classification) for each in settling.earlier] == [
        (earlier, stands.classification)
    ]
