"""Whoever has an evaluation in hand is in the ledger, and it can be taken from him."""

import asyncio
from datetime import UTC, datetime, timedelta

from crucible.ids import new_sweep_id
from crucible.store import Store
from crucible.store.ownership import CANCELLED, NOT_SWEPT
from tests.support.ledger import comparison
from tests.support.traffic import submitted


async def test_what_is_entered_belongs_to_whoever_enters_it(url: str) -> None:
    mine, nobodys = await Store.open(url, "host-a"), await Store.open(url)
    await submitted(mine, 1)
    assert await mine.ownership.owners() == {"host-a"}

    await submitted(nobodys, 1)

    assert await mine.ownership.owners() == {"host-a", None}
    await mine.close()
    await nobodys.close()


async def test_what_is_open_changes_hands_page_by_page_and_what_is_settled_does_not(url: str) -> None:
    store = await Store.open(url, "host-a")
    ids = await submitted(store, 5)
    await store.settle([comparison(ids[1])])

    first = await store.ownership.take_over("host-a", "host-b", 3)
    rest = await store.ownership.take_over("host-a", "host-b", 3)

    assert [each.id for each in (*first, *rest)] == [ids[0], *ids[2:]]
    assert await store.ownership.take_over("host-a", "host-b", 3) == []
    assert await store.ownership.owners() == {"host-b"}
    await store.close()


async def test_of_two_who_take_at_once_each_gets_others(url: str) -> None:
    store, other = await Store.open(url, "dead"), await Store.open(url)
    ids = await submitted(store, 20)

    taken = await asyncio.gather(
        *(
            each.ownership.take_over("dead", by, 5)
            for each, by in ((store, "b"), (other, "c"), (store, "b"), (other, "c"))
        )
    )
    while more := await store.ownership.take_over("dead", "b", 5):
        taken.append(more)

    assert sorted(each.id for page in taken for each in page) == ids
    await store.close()
    await other.close()


async def test_an_owner_is_told_what_has_been_in_his_hands_for_long(url: str) -> None:
    store = await Store.open(url, "host-a")
    ids = await submitted(store, 2)
    now = datetime.now(UTC)

    assert await store.ownership.in_hand("host-a", now - timedelta(hours=1), 9) == []
    found = await store.ownership.in_hand("host-a", now + timedelta(seconds=1), 9)

    assert [each.id for each in found] == ids
    await store.close()


async def test_a_sweep_whose_owner_is_dead_is_marked_once_and_a_finished_one_is_not(url: str) -> None:
    dead, alive = await Store.open(url, "dead"), await Store.open(url, "alive")
    sweeps = [new_sweep_id() for _ in range(2)]
    await dead.begin_sweep(sweeps[0], {})
    await alive.begin_sweep(sweeps[1], {})
    assert await alive.ownership.owners() == {"dead", "alive"}

    assert await alive.ownership.end_sweeps("dead") == [sweeps[0]]

    assert await alive.ownership.end_sweeps("dead") == []
    assert await alive.ownership.owners() == {"alive"}
    await dead.close()
    await alive.close()


async def test_a_sweep_ends_once(url: str) -> None:
    store, sweep_id = await Store.open(url, "host-a"), new_sweep_id()
    await store.begin_sweep(sweep_id, {})
    await store.ownership.end_sweep(sweep_id, CANCELLED)
    await store.ownership.end_sweep(sweep_id, NOT_SWEPT)
    assert await store.ownership.owners() == set()
    found = await store.listing.sweep(sweep_id)
    assert found is not None
    assert (found.verdict, found.finished_at is None) == (CANCELLED, False)
    await store.close()
