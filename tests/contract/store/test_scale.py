"""No question to the store reads more when there is more in it: measured on Postgres, planned on SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from bench.store_scale import Asked, made
from crucible.store import Store, sqlite_url
from crucible.store.listing import EvaluationFilter
from tests.support.plans import Read, read_by, sqlite_plan
from tests.support.traffic import matched, mismatched, submitted

FEW, MANY = 5_000, 40_000
POSTGRES_TRIES = 5
"""So often Postgres plans for the parameters of a statement before it may keep one plan for all."""

PAGE, MORE = 5, 30
"""Rows that fill up a page, which a small store may have too few of: found, and read with both sides."""

DEEPER = 2
"""Times as many pages that looking something up in the index of a larger store may take."""


@pytest.fixture
async def filled(postgres_server: str) -> AsyncIterator[tuple[Asked, Asked]]:
    """Two stores on Postgres, one with eight times as many evaluations."""
    few, many = [(await made(postgres_server, number, str))[0] for number in (FEW, MANY)]
    yield few, many
    await few.store.close()
    await many.store.close()


async def test_eight_times_as_much_is_no_more_to_read(filled: tuple[Asked, Asked]) -> None:
    few, many = filled
    few.page = many.page = PAGE
    in_few, in_many = few.questions(), many.questions()
    read = {
        name: (await read_by(few.store, in_few[name]), await read_by(many.store, in_many[name]))
        for name in in_few
    }

    assert {name: found for name, found in read.items() if _grows(*found)} == {}
    assert [each.rows for each in read["list: newest"]] == [25, 25], "found, and read with both sides"


def _grows(few: Read, many: Read) -> bool:
    return many.rows > 1.5 * few.rows + MORE or many.beside > DEEPER * few.beside + MORE


async def test_lists_that_are_asked_for_often_are_not_planned_each_time(postgres_server: str) -> None:
    asked, _, _ = await made(postgres_server, 20_000, str)
    for name in ("list: newest", "list: unexpected", "list: mismatches", "list: of a tag"):
        for _ in range(12):
            await asked.questions()[name]()
    planned = text(
        "SELECT custom_plans FROM pg_prepared_statements WHERE statement LIKE 'SELECT evaluations.id,%'"
    )
    async with asked.store._database.read() as connection:
        found = (await connection.scalars(planned)).all()
    await asked.store.close()
    assert found == [POSTGRES_TRIES] * 4


async def test_what_is_filled_in_is_a_store_that_verifies(postgres_server: str) -> None:
    asked, _, _ = await made(postgres_server, 2_000, str)
    found = await asked.store.rollout.verify()
    await asked.store.close()
    assert (found.faults, found.pairs > 1_000) == ((), True)


@pytest.fixture
async def on_sqlite(tmp_path: Path) -> AsyncIterator[Store]:
    """A store in which there is some of everything."""
    store = await Store.open(sqlite_url(tmp_path / "store.db"))
    await matched(store, 2)
    await mismatched(store)
    await submitted(store)
    yield store
    await store.close()


async def test_sqlite_takes_the_index_of_what_is_unconfirmed(on_sqlite: Store) -> None:
    books = on_sqlite.rollout
    for question in (lambda: books.unconfirmed(10), books.status):
        plan = await sqlite_plan(on_sqlite, question)
        assert any("evaluations_unconfirmed" in each for each in plan), plan


async def test_sqlite_looks_up_both_ends_of_the_references(on_sqlite: Store) -> None:
    plan = await sqlite_plan(on_sqlite, on_sqlite.rollout.random_reference)
    looked_up = [each for each in plan if "evaluations_traffic (classification=?)" in each]
    assert len(looked_up) == 2, plan


async def test_sqlite_verifies_the_ledger_in_the_order_of_its_index(on_sqlite: Store) -> None:
    plan = await sqlite_plan(on_sqlite, on_sqlite.rollout.verify)
    assert any("evaluations_by_epoch (epoch=? AND classification=? AND id>?)" in each for each in plan)
    assert not any("evaluations_by_epoch (epoch=?)" in each for each in plan), plan


async def test_sqlite_finds_what_is_unexpected_in_a_sweep_without_its_other_rows(on_sqlite: Store) -> None:
    wanted = EvaluationFilter(sweep_id="sw-1", unexpected=True)
    plan = await sqlite_plan(on_sqlite, lambda: on_sqlite.listing.evaluations(wanted, None, 10))
    assert any("evaluations_unexpected (" in each for each in plan), plan
    assert not any("evaluations_by_sweep" in each for each in plan), plan
