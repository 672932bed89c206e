"""A whole stack whose ledger is in Postgres, wherever those of other tests are: what rests on the store."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bench import postgres
from crucible.store.ownership import CRASHED
from tests.support.command_line import CommandLine
from tests.support.corpora import ledger, newest_sweep, prints, write_corpus
from tests.support.stacks import client_of, stack_up
from tests.support.stores import keep_in_postgres, rows
from tests.support.waiting import patiently

pytestmark = pytest.mark.stack

_SWEPT, _KILLED = 20, 80
WITHIN_S = 240.0


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The command line of a home whose stack is up and keeps its ledger in Postgres."""
    if reason := postgres.missing():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("postgres") / "home"
    with stack_up(home, DATABASE_URL=keep_in_postgres(home), FLOW_LEASE_S="1") as command_line:
        yield command_line


@pytest.fixture(scope="module")
def api(line: CommandLine) -> Iterator[httpx.Client]:
    """A client of its API, with its key."""
    with client_of(line.state()) as client:
        yield client


def swept(line: CommandLine, number: int) -> Any:
    """What a sweep of so many programs has found."""
    corpus = write_corpus(line.home / f"corpus-{number}.jsonl", prints(number))
    done = line.run("sweep", corpus, "--min-evaluations", str(number), "--json")
    assert done.code == 0, done.stderr
    return done.document


def test_a_sweep_passes_and_its_ledger_adds_up(line: CommandLine) -> None:
    found = swept(line, _SWEPT)
    assert (found["verdict"], found["counts"]["matched"]) == ("pass", _SWEPT)
    assert ledger(line.home) == {"match": _SWEPT}


def test_what_is_posted_is_answered_once_and_listed(api: httpx.Client) -> None:
    program = {"language": "python", "code": "print(6 * 7)", "id": "posted", "tags": ["here"]}
    repeatable = {"Idempotency-Key": "on-postgres"}
    first = api.post("/evaluations?wait=60", json=program, headers=repeatable)
    again = api.post("/evaluations?wait=60", json=program, headers=repeatable)

    assert (first.status_code, first.json()["classification"]) == (200, "match")
    assert again.json()["id"] == first.json()["id"]
    listed = api.get("/evaluations", params={"tag": "here"}).json()
    assert [each["id"] for each in listed["items"]] == [first.json()["id"]]


def test_traffic_is_counted_and_verifies(line: CommandLine, api: httpx.Client) -> None:
    found = api.post("/evaluations?wait=60", json={"language": "python", "code": "print(1)"}).json()
    assert found["classification"] == "match"

    verified = line.run("rollout", "verify", "--json").document
    assert (verified["faults"], verified["pairs"]) == ([], 2)
    strata = line.run("rollout", "status", "--json").document["strata"]
    assert (strata["all"]["submitted"], strata["all"]["matched"]) == (2, 2)


def test_the_dashboard_s_pages_are_filled(api: httpx.Client) -> None:
    key = api.headers["Authorization"].removeprefix("Bearer ")
    with httpx.Client(base_url=api.base_url, timeout=WITHIN_S) as browser:
        here = {"sec-fetch-site": "same-origin"}
        assert browser.post("/dashboard/login", data={"key": key}, headers=here).status_code == 303
        for page in ("", "evaluations", "sweeps", "rollout", "causes", "parts"):
            assert browser.get(f"/dashboard/{page}").status_code == 200, page
        assert "posted" in browser.get("/dashboard/evaluations").text


def test_a_sweep_that_is_killed_is_marked_and_its_evaluations_are_answered(line: CommandLine) -> None:
    corpus = write_corpus(line.home / "killed.jsonl", prints(_KILLED, seconds=0.1))
    before = newest_sweep(line.home)
    running = line.start("sweep", corpus, "--json")
    patiently(lambda: newest_sweep(line.home) != before and 0 < ledger(line.home)[None] < _KILLED - 5)
    os.kill(running.pid, signal.SIGKILL)

    patiently(lambda: ledger(line.home) == {"match": _KILLED})

    killed = newest_sweep(line.home)
    patiently(lambda: rows(line.home, "SELECT verdict FROM sweeps WHERE id = :id", id=killed) == [(CRASHED,)])


def test_the_old_is_let_go_while_the_stack_runs_and_every_total_stays(
    line: CommandLine, api: httpx.Client
) -> None:
    sweep_id = newest_sweep(line.home)
    before = api.get(f"/sweeps/{sweep_id}").json()["counts"]
    tallies = line.run("rollout", "status", "--json").document["strata"]

    pruned = line.run("store", "prune", "--days", "0", "--json")

    assert pruned.code == 0, pruned.stderr
    assert (pruned.document["closed"], pruned.document["let_go"]) == (2, _SWEPT + _KILLED)
    assert api.get(f"/sweeps/{sweep_id}").json()["counts"] == before
    assert line.run("rollout", "status", "--json").document["strata"] == tallies
    assert line.run("rollout", "verify", "--json").document["faults"] == []
    info = line.run("store", "info", "--json").document
    assert (info["database"], info["closed"], info["let_go"]) == ("postgresql", 2, _SWEPT + _KILLED)
    posted = api.post("/evaluations?wait=60", json={"language": "python", "code": "print(1)"}).json()
    assert posted["classification"] == "match"
    assert line.run("rollout", "verify", "--json").document["faults"] == []
