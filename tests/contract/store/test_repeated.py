"""Requests that are sent again submit nothing, on every kind of database, whoever comes first."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from crucible.ids import new_evaluation_id
from crucible.store import Repeatable, Store, Submission
from crucible.store.keys import RequestReused
from tests.support.ledger import evaluation

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def request(digest: str = "a" * 64, since: datetime = LONG_AGO) -> Repeatable:
    return Repeatable("key-1", "mine", digest, since)


def traffic(number: int = 1) -> list[Submission]:
    return [Submission(new_evaluation_id(), evaluation(), is_traffic=True) for _ in range(number)]


async def number_of(store: Store, table: str) -> int:
    async with store._database.read() as connection:
        found = await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")  # noqa: S608
        return int(found.scalar_one())


async def test_the_second_time_the_ids_of_the_first_come_back_in_their_order(store: Store) -> None:
    first = traffic(3)
    assert await store.requests.find(request()) is None
    assert await store.submit(first, request()) is None
    ids = [each.id for each in first]
    assert await store.submit(traffic(3), request()) == ids
    assert await store.requests.find(request()) == ids
    assert [row.id for row in await store.evaluation_states(ids)] == ids
    assert await number_of(store, "evaluations") == 3


async def test_another_body_is_refused_and_nothing_is_entered(store: Store) -> None:
    await store.submit(traffic(), request())
    with pytest.raises(RequestReused, match="'mine' came with another body"):
        await store.submit(traffic(), request("b" * 64))
    with pytest.raises(RequestReused):
        await store.requests.find(request("b" * 64))
    assert await number_of(store, "evaluations") == 1


async def test_of_those_that_come_at_once_from_several_processes_one_submits(store: Store, url: str) -> None:
    others = [await Store.open(url) for _ in range(3)]
    try:
        results = await asyncio.gather(
            *(each.submit(traffic(), request()) for each in (store, *others) for _ in range(5))
        )
    finally:
        for each in others:
            await each.close()
    assert results.count(None) == 1
    assert len({tuple(ids) for ids in results if ids is not None}) == 1
    assert await number_of(store, "evaluations") == 1


async def test_when_the_submission_fails_the_request_was_never_made(store: Store) -> None:
    same = traffic()
    await store.submit(same)
    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.submit(same, request())
    assert await number_of(store, "requests") == 0


async def test_what_is_older_than_asked_for_is_made_anew(store: Store) -> None:
    await store.submit(traffic(), request())
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await store.requests.find(request("b" * 64, later)) is None
    assert await store.submit(traffic(), request("b" * 64, later)) is None
    assert await number_of(store, "evaluations") == 2
    assert await store.requests.forget(later) == 1
    assert await number_of(store, "requests") == 0
