"""The janitor on a real Redis and a real store: what the dead leave is gone on with, and nothing else.

Hosts are leases; where evaluations go is played by the tests.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import pytest

from crucible.ids import new_evaluation_ids
from crucible.store import Store, Submission, Ticket, sqlite_url
from flows import batching as batching_module
from flows.batching import FlowRunBatcher, LeakedEvaluations
from flows.duties import janitor as janitor_module
from flows.duties.janitor import Janitor
from flows.host import FlowHost
from tasks.background import BackgroundServices
from tasks.leases import Lease, host_key
from tests.support.ledger import comparison, evaluation
from tests.support.traffic import submitted
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

LEASE_S = 0.4


class Hands:
    """As the batcher of flow runs: ``room`` places, and what was put."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.got: list[str] = []
        self.held: set[str] = set()
        self.looked = False

    def reserve(self, number: int) -> bool:
        if number > self.room:
            return False
        self.room -= number
        return True

    def free(self, number: int) -> None:
        self.room += number

    def put(self, tickets: Sequence[Ticket]) -> None:
        self.got += [each.id for each in tickets]
        self.held.update(each.id for each in tickets)

    def holds(self, evaluation_id: str) -> bool:
        self.looked = True
        return evaluation_id in self.held


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "store.db")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Prefect, which nothing here runs, is told in this list."""
    told: list[str] = []

    async def tell(owner: str) -> bool:
        told.append(owner)
        return told.count(owner) > 1  # at first Prefect is away

    monkeypatch.setattr(janitor_module, "crash_flow_runs", tell)
    return told


@asynccontextmanager
async def at_work(valkey: Valkey, url: str, hands: Hands, lease_s: float = LEASE_S) -> AsyncIterator[Store]:
    owner = f"host-{uuid4().hex}"
    store, lease = await Store.open(url, owner), Lease(valkey.url, owner, lease_s)
    await lease.open(BackgroundServices())
    host = cast("FlowHost", SimpleNamespace(store=store, lease=lease))
    services = BackgroundServices()
    services.every(0.02, "janitor", Janitor(host, hands).round)
    services.every(0.02, "leaked", LeakedEvaluations(host, cast("FlowRunBatcher", hands)).round)
    try:
        yield store
    finally:
        await services.aclose()
        await lease.close()
        await store.close()


async def entered(url: str, owner: str | None, number: int) -> list[str]:
    store = await Store.open(url, owner)
    ids = await submitted(store, number)
    await store.settle([comparison(ids[0])])
    await store.close()
    return ids[1:]


async def test_what_the_dead_and_nobody_had_is_taken_once_and_what_the_living_have_is_not(
    valkey: Valkey, url: str, quick: list[str]
) -> None:
    living = Lease(valkey.url, f"host-{uuid4().hex}", LEASE_S)
    await living.open(BackgroundServices())
    await entered(url, living.owner, 3)
    wanted = await entered(url, "host-dead", 4) + await entered(url, None, 3)
    hands = Hands()

    async with at_work(valkey, url, hands) as store:
        await eventually(lambda: sorted(hands.got) == sorted(wanted) and quick.count("host-dead") == 2)
        left = await store.ownership.owners()
        assert len(left) == 2
        assert living.owner in left

    assert living.owner not in quick
    await living.close()


async def test_a_host_whose_lease_redis_lost_is_not_taken_for_dead_at_once(valkey: Valkey, url: str) -> None:
    living = Lease(valkey.url, f"host-{uuid4().hex}", LEASE_S)
    await living.open(BackgroundServices())
    await entered(url, living.owner, 3)
    hands, client = Hands(), valkey.client()

    async with at_work(valkey, url, hands, lease_s=120):
        for _ in range(10):
            client.delete(host_key(living.owner))
            await eventually(lambda: bool(client.exists(host_key(living.owner))))

    assert hands.got == []
    await living.close()


async def test_nothing_is_taken_for_which_there_is_no_room(valkey: Valkey, url: str) -> None:
    wanted = await entered(url, "host-dead", 3)
    hands = Hands(room=10)

    async with at_work(valkey, url, hands) as store:
        await eventually(lambda: hands.room == 10)
        assert await store.ownership.owners() == {"host-dead"}
        hands.room = 1000
        await eventually(lambda: hands.got == wanted)


async def test_what_was_left_behind_here_is_begun_again(
    valkey: Valkey, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching_module, "_AFTER_S", 0.0)
    hands = Hands()

    async with at_work(valkey, url, hands) as store:
        ids = new_evaluation_ids(2)
        hands.held.add(ids[0])  # before it can be seen in the store
        await store.submit([Submission(each, evaluation(), is_traffic=True) for each in ids])
        await eventually(lambda: hands.got == ids[1:])
        hands.held.clear()
        await eventually(lambda: sorted(hands.got) == sorted([*ids, ids[1]]))


async def test_what_fails_each_time_is_begun_at_intervals(
    valkey: Valkey, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching_module, "_AFTER_S", 0.3)
    hands = Hands()

    async with at_work(valkey, url, hands) as store:
        began = time.monotonic()
        (failing,) = await submitted(store, 1)
        for times in range(1, 4):
            await eventually(lambda times=times: len(hands.got) == times)
            hands.looked = False
            await eventually(lambda: hands.looked)
            hands.held.clear()
        assert hands.got == [failing] * 3
        assert time.monotonic() - began >= 3 * 0.3
