"""The quickest faults, as `make chaos` runs them but on small sweeps; and whether the harness would see."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crucible.models import Classification, Leg
from crucible.store import Store
from crucible.store.database import sqlite_url
from tests.chaos.books import Books
from tests.chaos.fault import Fault
from tests.chaos.faults import all_faults
from tests.chaos.findings import line
from tests.chaos.run import Order, run
from tests.chaos.stack import Stack
from tests.chaos.starting import chaos_stack
from tests.support.ledger import comparison, sweep_of

_ORDER = Order(evaluations=100, seed=5)
_QUICK = ("kill celery-worker", "deliver everything twice")


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with chaos_stack(tmp_path / "home") as started:
        yield started


@pytest.mark.stack
async def test_nothing_is_lost_or_doubled_by_the_quickest_faults(stack: Stack) -> None:
    for fault in _faults(*_QUICK):
        row = await run(stack, fault, _ORDER)
        print(line(row))
        assert row.ok, row.faults
        assert (row.lost, row.duplicated, row.unpaired) == (0, 0, 0)
        assert row.submitted > _ORDER.evaluations, "probes were posted, too"


def test_the_same_seed_gives_the_same_faults() -> None:
    names = [[fault.name for fault in all_faults(seed)] for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    assert len(set(names[0])) == len(names[0])


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[tuple[Store, Books]]:
    """A store, and its books as the harness reads them."""
    path = tmp_path / "crucible.db"
    opened = await Store.open(sqlite_url(path))
    books = Books(path)
    with books.watched():
        yield opened, books
    await opened.close()


async def test_what_is_settled_once_is_neither_open_nor_doubled(store: tuple[Store, Books]) -> None:
    opened, books = store
    sweep_id, ids = await sweep_of(opened, ["1", "2"])
    await opened.settle([comparison(ids[0], name="1")])
    await opened.settle([comparison(ids[0], name="1")])
    assert books.sweep_id() == sweep_id
    assert books.columns(sweep_id) == {"match": 1, None: 1}
    assert books.open_ids() == {ids[1]}
    assert books.settled_twice() == []


async def test_a_second_settlement_is_seen(store: tuple[Store, Books]) -> None:
    opened, books = store
    _, (evaluation_id,) = await sweep_of(opened, ["1"])
    await opened.settle([comparison(evaluation_id, name="1")])
    assert books.settled_twice() == []
    _overwrite(books, "UPDATE evaluations SET classification = 'match' WHERE id = ?", evaluation_id)
    assert books.settled_twice() == [evaluation_id]


async def test_what_reruns_make_of_a_mismatch_is_no_second_settlement(store: tuple[Store, Books]) -> None:
    opened, books = store
    _, (evaluation_id,) = await sweep_of(opened, ["1"])
    found = comparison(evaluation_id, Classification.MISMATCH, name="1")
    await opened.settle([found])
    again = {"classification": Classification.NONDETERMINISTIC, "reruns": 3, "differences": ()}
    await opened.reclassify(found.model_copy(update=again))
    assert [each.new for each in books.settlements()] == ["mismatch", "nondeterministic"]
    assert books.settled_twice() == []


@pytest.mark.parametrize("leg", ["legacy", "celery"])
async def test_an_answer_of_another_program_is_seen(store: tuple[Store, Books], leg: Leg) -> None:
    opened, books = store
    _, (evaluation_id,) = await sweep_of(opened, ["1"])
    await opened.settle([comparison(evaluation_id, name="1")])
    assert books.mixed_up() == []
    body = json.dumps({"stdout_b64": base64.b64encode(b"2\n").decode()})
    _overwrite(books, "UPDATE observations SET body = ? WHERE leg = ?", body, leg)
    assert books.mixed_up() == [evaluation_id]


async def test_the_watch_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    path = tmp_path / "crucible.db"
    await (await Store.open(sqlite_url(path))).close()
    books = Books(path)
    names = "SELECT name FROM sqlite_master WHERE name LIKE 'chaos%'"
    with books.watched():
        assert len(books._rows(names)) == 2
    assert books._rows(names) == []


def _overwrite(books: Books, statement: str, *values: str) -> None:
    """As a defect would."""
    with books._connection() as connection:
        connection.execute(statement, values)


def _faults(*names: str) -> list[Fault]:
    by_name = {fault.name: fault for fault in all_faults(_ORDER.seed)}
    return [by_name[name] for name in names]
