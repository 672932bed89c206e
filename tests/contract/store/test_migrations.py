"""A store goes up to the newest revision and back to any before with all that is in it."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, insert, select

from crucible.ids import new_evaluation_ids, new_sweep_id
from crucible.models import Classification
from crucible.models.access import Scope
from crucible.rollout.epoch import EpochKey
from crucible.rollout.stage import Stage
from crucible.settings import GateSettings
from crucible.store import Store, Submission
from crucible.store.database import Database, downgrade, migrate, parse, revisions, upgrade
from crucible.store.tables import REVISION, VERSION_TABLE, metadata
from tests.support.api import Api
from tests.support.ledger import comparison, evaluation, observation
from tests.support.old_stores import ROWS
from tests.support.traffic import at_stage, matched, mismatched, submitted

Rows = dict[str, list[dict[str, Any]]]
BEFORE = revisions()[:-1]
TOTALS = {"sweep_tallies", "times", "let_go", "retention"}
"""Tables that are counted anew on the way up."""

LARGE = b"much\n" * 10_000


def contents(connection: Connection) -> Rows:
    """All rows of all tables, in a fixed order."""
    found = MetaData()
    found.reflect(connection)
    return {
        name: sorted((dict(row._mapping) for row in connection.execute(select(table))), key=str)
        for name, table in found.tables.items()
        if name != VERSION_TABLE
    }


async def seen(database: Database) -> Rows:
    async with database.read() as connection:
        return await connection.run_sync(contents)


def fill(connection: Connection, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Insert ``rows`` as far as the revision has their tables and columns."""
    found = MetaData()
    found.reflect(connection)
    for name, row in rows:
        if (table := found.tables.get(name)) is not None:
            known = {column.name: metadata.tables[name].c[column.name].type for column in table.columns}
            values = {key: value for key, value in row.items() if key in known}
            for column in table.columns:
                column.type = known[column.name]
            connection.execute(insert(table), [values])


def lost(before: Rows, after: Rows) -> list[str]:
    """What is not there any more, or is not what it was; what is new is left aside."""
    gone = []
    for name, rows in before.items():
        kept = (
            [{key: row[key] for key in rows[0] if key in row} for row in after.get(name, [])] if rows else []
        )
        gone += [f"{name}: {row}" for row in rows if row not in kept]
    return gone


@pytest.mark.parametrize("revision", BEFORE)
async def test_a_store_of_an_older_crucible_goes_up_down_and_up_with_all_its_rows(
    url: str, revision: str
) -> None:
    database = Database(parse(url))
    await upgrade(database, revision)
    async with database.write() as connection:
        await connection.run_sync(fill, ROWS)
    old = await seen(database)
    assert len(old["evaluations"]) == 4

    await migrate(database)
    new = await seen(database)
    assert lost(old, new) == []
    await downgrade(database, revision)
    assert await seen(database) == old
    await migrate(database)
    assert lost(old, await seen(database)) == []
    await database.close()

    if revision == "0005":
        return  # the totals of its rows were its own to keep
    store = await Store.open(url)
    counts = await store.counts("sw-old")
    assert (counts.submitted, counts.matched, counts.mismatched, counts.unexpected) == (3, 1, 1, 1)
    await store.close()


async def filled(store: Store) -> str:
    """Something of everything there is; returns a sweep."""
    sweep_id, ids = new_sweep_id(), new_evaluation_ids(6)
    await store.begin_sweep(sweep_id, {})
    await store.submit([Submission(each, evaluation(tags=["a", "b"]), sweep_id) for each in ids])
    kinds = (Classification.MATCH, Classification.MISMATCH, Classification.UNPAIRED, Classification.CANCELLED)
    await store.settle([comparison(each, kind) for each, kind in zip(ids, kinds, strict=False)])
    policy = GateSettings(mutant_share=0.5)
    await store.rollout.open_epoch(EpochKey(legacy_build="1", celery_build="3", policy=policy), "test")
    await at_stage(store, Stage.SHADOW)
    await matched(store, 40)
    await mismatched(store, 2)
    (large,) = await submitted(store)
    again = observation("legacy")
    await store.rollout.count_noise(large, again, 1, only_celery=True, only_legacy=False)
    sides = {"legacy": observation("legacy", LARGE), "celery": observation("celery", LARGE)}
    waited = {"waited_s": {"legacy": 0.01, "celery": 0.02}, "cause": "c0ffee"}
    await store.settle([comparison(large).model_copy(update=sides | waited)])
    await submitted(store, 3)
    await store.duties.take(["alarm"], "host-one", 60)
    await Api.make_key(store, Scope.READ)
    return sweep_id


@pytest.mark.parametrize("revision", BEFORE)
async def test_what_this_crucible_wrote_goes_back_to_an_older_one_and_returns(
    url: str, revision: str
) -> None:
    store = await Store.open(url)
    sweep_id = await filled(store)
    counts, inputs = await store.counts(sweep_id), (await store.rollout.look()).inputs
    await store.close()
    database = Database(parse(url))
    before = await seen(database)

    await downgrade(database, revision)
    down = await seen(database)
    assert "duty_leases" not in down
    assert len(down["evaluations"]) == len(before["evaluations"])
    if revision < "0005":
        assert not TOTALS & set(down)
        assert {row["body"][:1] for row in down["observations"]} == {"{"}
    await migrate(database)
    await database.close()

    store = await Store.open(url)
    assert await store.counts(sweep_id) == counts
    verified = await store.rollout.verify()
    assert verified.faults == ()
    if revision > "0001":
        assert (await store.rollout.look()).inputs == inputs
        assert verified.pairs == 43
    await store.close()


async def test_a_store_that_is_going_back_to_nothing_holds_nothing(url: str) -> None:
    await (await Store.open(url)).close()
    database = Database(parse(url))

    await downgrade(database, "base")

    assert await seen(database) == {}
    await database.close()


def test_the_newest_revision_is_the_one_the_tables_stand_at() -> None:
    assert revisions()[-1] == REVISION
