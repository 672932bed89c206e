"""``crucible store``: what it says of a store, what goes, and the way back to an older version."""

import asyncio
from pathlib import Path

import pytest

from crucible.store import Store, sqlite_url
from deployments.stack import StackState
from tests.support.command_line import CommandLine
from tests.support.in_process import Run, run
from tests.support.stacks import client_of
from tests.support.traffic import matched, mismatched

__all__ = ["run"]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A home whose store holds three mismatches and two pairs that agreed."""
    home = tmp_path / "home"
    home.mkdir()

    async def fill() -> None:
        store = await Store.open(sqlite_url(home / "crucible.db"))
        await mismatched(store, 3)
        await matched(store, 2)
        await store.close()

    asyncio.run(fill())
    return home


def test_an_empty_store_has_a_size_and_nothing_in_it(run: Run) -> None:
    found = run("store", "info", "--json")
    assert found.code == 0
    assert (found.document["evaluations"], found.document["oldest"], found.document["tables"]) == (
        0,
        None,
        [],
    )
    assert found.document["bytes"] > 0
    assert "0 evaluations" in run("store", "info").stdout


@pytest.mark.usefixtures("filled")
def test_what_is_old_goes_and_is_counted(run: Run) -> None:
    young = run("store", "prune", "--days", "1", "--json").document
    assert (young["closed"], young["let_go"]) == (0, 0)

    pruned = run("store", "prune", "--days", "0")

    assert (pruned.code, pruned.stdout) == (0, "5 pairs verified and closed, 3 evaluations let go\n")
    info = run("store", "info", "--json").document
    assert (info["evaluations"], info["closed"], info["let_go"]) == (2, 5, 3)
    assert "let go: 3 evaluations" in run("store", "info").stdout
    assert run("rollout", "verify", "--json").document["ok"]
    assert run("store", "prune", RETENTION_DAYS="0.000001").stdout.startswith("0 pairs")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("prune", "CRUCIBLE_RETENTION_DAYS"),
        ("prune --days -1", "--days -1"),
        ("prune --days nan", "--days nan"),
        ("downgrade 0999", "'0999'"),
    ],
)
def test_what_does_not_fit_is_one_line(run: Run, words: str, part: str) -> None:
    refused = run("store", *words.split())
    assert (refused.code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1), refused
    assert part in refused.stderr


@pytest.mark.stack
def test_a_store_stays_as_it_is_while_its_stack_works_on_it(crucible: CommandLine, stack: StackState) -> None:
    refused = crucible.run("store", "downgrade", "0004")
    assert (refused.code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1), refused
    assert "`crucible down` ends it" in refused.stderr
    with client_of(stack) as client:
        assert client.get("/evaluations").is_success


@pytest.mark.usefixtures("filled")
def test_a_store_goes_back_and_the_next_command_brings_it_up_again(run: Run) -> None:
    back = run("store", "downgrade", "0004")
    assert (back.code, back.stdout) == (0, "the store stands at revision 0004\n")
    assert run("rollout", "verify", "--json").document["pairs"] == 5
