"""Leases of duties, on every kind of store: each is one owner's, for a time, with its checkpoint."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, text

from crucible.store import Store
from crucible.store.tables import duty_leases

LONG_S, SHORT_S = 600.0, 0.2
DUTIES = ("alarm", "noise", "sentinels")


@pytest.fixture
async def other(store: Store, url: str) -> AsyncIterator[Store]:
    """The same store, opened by another process."""
    opened = await Store.open(url)
    yield opened
    await opened.close()


async def test_what_one_has_no_other_gets_and_its_owner_renews(store: Store, other: Store) -> None:
    assert await store.duties.take(["alarm", "noise"], "one", LONG_S) == {"alarm", "noise"}
    assert await other.duties.take(DUTIES, "two", LONG_S) == {"sentinels"}
    assert await store.duties.take(DUTIES, "one", LONG_S) == {"alarm", "noise"}


async def test_of_many_who_ask_at_once_each_duty_is_given_to_one(store: Store, other: Store) -> None:
    asked = [
        each.duties.take(DUTIES[:: 1 if number % 2 else -1], f"owner-{number}", LONG_S)
        for number, each in enumerate([store, other] * 6)
    ]
    given = [duty for held in await asyncio.gather(*asked) for duty in held]
    assert sorted(given) == sorted(DUTIES)


async def test_a_lease_that_is_not_renewed_is_taken_over_when_it_ends(store: Store, other: Store) -> None:
    await store.duties.take(["alarm"], "one", SHORT_S)
    async with asyncio.timeout(30):
        while not await other.duties.take(["alarm"], "two", LONG_S):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.02)
    assert await store.duties.take(["alarm"], "one", LONG_S) == set()


async def test_a_lease_that_is_given_up_is_taken_at_once_and_others_stay(store: Store, other: Store) -> None:
    await store.duties.take(["alarm"], "one", LONG_S)
    await store.duties.take(["noise"], "three", LONG_S)
    await store.duties.give_up("one")
    assert await other.duties.take(DUTIES, "two", LONG_S) == {"alarm", "sentinels"}


async def test_a_lease_ends_by_the_clock_of_the_database(store: Store, url: str) -> None:
    await store.duties.take(["alarm"], "one", LONG_S)
    seconds = "extract(epoch from clock_timestamp())" if "postgres" in url else "unixepoch('now')"
    async with store._database.read() as connection:
        until = await connection.scalar(select(duty_leases.c.until))
        now = await connection.scalar(text(f"SELECT {seconds}"))
    left = float(until or 0) - float(now or 0)
    assert LONG_S - 60 < left <= LONG_S + 1


async def test_only_its_owner_moves_a_checkpoint_and_the_next_goes_on_from_it(
    store: Store, other: Store
) -> None:
    assert await store.duties.checkpoint("alarm") is None
    assert not await store.duties.save_checkpoint("alarm", "one", "nobody has it")
    await store.duties.take(["alarm"], "one", LONG_S)
    assert await store.duties.checkpoint("alarm") is None
    assert await store.duties.save_checkpoint("alarm", "one", "7")
    assert not await other.duties.save_checkpoint("alarm", "two", "8")

    await store.duties.give_up("one")
    assert not await store.duties.save_checkpoint("alarm", "one", "9")
    await other.duties.take(["alarm"], "two", LONG_S)
    assert await other.duties.checkpoint("alarm") == "7"


async def test_a_checkpoint_is_not_moved_by_whose_lease_has_ended(store: Store) -> None:
    await store.duties.take(["alarm"], "one", SHORT_S)
    async with asyncio.timeout(30):
        while await store.duties.save_checkpoint("alarm", "one", "7"):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.02)
