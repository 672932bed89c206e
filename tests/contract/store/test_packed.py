"""Large outputs take little room in the store, and come back byte for byte."""

import pytest
from sqlalchemy import event, text

from crucible.errors import StoreError
from crucible.models import Comparison, Observation
from crucible.store import Store, encoding
from crucible.store.database import Database, parse
from crucible.store.encoding import packed
from tests.support.ledger import comparison, observation
from tests.support.traffic import differing, submitted

LONG = b"a line of output\n" * 20_000


def printed(evaluation_id: str, legacy: bytes, celery: bytes) -> Comparison:
    """A match of two legs that printed this."""
    sides = {"legacy": observation("legacy", legacy), "celery": observation("celery", celery, 0.5)}
    return comparison(evaluation_id).model_copy(update=sides)


async def taken(url: str) -> int:
    """Characters of all observations."""
    database = Database(parse(url))
    async with database.read() as connection:
        found = await connection.scalar(text("SELECT sum(length(body)) FROM observations"))
    await database.close()
    return int(found or 0)


@pytest.mark.parametrize("celery", [LONG, LONG + b"and one more\n", b"short\n"])
async def test_a_large_output_is_kept_once_and_comes_back(url: str, store: Store, celery: bytes) -> None:
    (evaluation_id,) = await submitted(store)
    given = printed(evaluation_id, LONG, celery)
    await store.settle([given])

    found = await store.comparison(evaluation_id)
    assert found is not None
    assert (found.legacy, found.celery) == (given.legacy, given.celery)
    assert [each.observation for each in await store.runs(evaluation_id)] == [given.legacy, given.celery]
    assert await taken(url) < len(LONG) / 10


async def test_what_is_large_is_packed_before_others_have_to_wait(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (evaluation_id,) = await submitted(store)
    done: list[str] = []

    def noted(*given: Observation | None) -> str:
        done.append("packed")
        return packed(*given)

    monkeypatch.setattr(encoding, "packed", noted)
    event.listen(store._database._engine.sync_engine, "begin", lambda _: done.append("begun"))
    await store.settle([printed(evaluation_id, LONG, LONG)])
    assert done == ["packed", "packed", "begun"]

    await store.add_run(evaluation_id, 1, observation("legacy", LONG), None)
    assert done[3:] == ["packed", "begun"]


async def test_re_runs_with_large_outputs_each_come_back(store: Store) -> None:
    (evaluation_id,) = await submitted(store)
    first = differing(evaluation_id)
    await store.settle([first])
    legacy, celery = observation("legacy", LONG), observation("celery", LONG)
    await store.add_run(evaluation_id, 1, observation("legacy", b"other\n"), None)
    await store.add_run(evaluation_id, 1, legacy, celery)

    runs = await store.runs(evaluation_id)

    assert [each.observation.stdout_b64 for each in runs[2:]] == ["b3RoZXIK", celery.stdout_b64]
    assert (await store.rollout.verify()).faults == ()


@pytest.mark.parametrize("body", ["z:notpacked", "z:AAAA", '{"as_legacy":true,"outcome":"ok"}'])
async def test_what_does_not_unpack_is_named(url: str, store: Store, body: str) -> None:
    (evaluation_id,) = await submitted(store)
    await store.settle([printed(evaluation_id, LONG, LONG)])
    database = Database(parse(url))
    async with database.write() as connection:
        await connection.execute(
            text("UPDATE observations SET body = :body WHERE leg = 'legacy'"), {"body": body}
        )
    await database.close()

    with pytest.raises(StoreError, match=evaluation_id):
        await store.comparison(evaluation_id)
