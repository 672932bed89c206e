"""What a process had in hand when it was killed, or stood still, is gone on with by another one."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from crucible.store.ownership import CRASHED
from tests.support.command_line import CommandLine, Running
from tests.support.corpora import ledger, newest_sweep, prints, write_corpus
from tests.support.stores import rows, stand_still

pytestmark = pytest.mark.stack

_NUMBER = 120
_WITHIN_S = 240.0


@pytest.fixture
def sweeping(crucible: CommandLine, tmp_path: Path) -> Running:
    """A sweep, some of which is done and some is not."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(_NUMBER, seconds=0.1))
    before = newest_sweep(crucible.home)
    running = crucible.with_settings(FLOW_LEASE_S="1").start("sweep", corpus, "--json")
    wait_until(lambda: newest_sweep(crucible.home) != before, running)
    wait_until(lambda: 0 < ledger(crucible.home)[None] < _NUMBER - 5, running)
    return running


def test_a_sweep_that_is_killed_is_marked_and_its_evaluations_are_answered(
    crucible: CommandLine, sweeping: Running
) -> None:
    os.kill(sweeping.pid, signal.SIGKILL)

    wait_until(lambda: ledger(crucible.home) == {"match": _NUMBER})

    wait_until(lambda: verdict_of(crucible.home, newest_sweep(crucible.home)) == CRASHED)
    state = crucible.run("status", "--json").document
    wait_until(lambda: flow_runs(state["prefect_url"], newest_sweep(crucible.home)) == ["CRASHED"])


def test_a_sweep_that_stood_still_goes_on_and_counts_nothing_twice(
    crucible: CommandLine, sweeping: Running
) -> None:
    stand_still(crucible.home, sweeping.pid)
    wait_until(lambda: ledger(crucible.home) == {"match": _NUMBER})
    wait_until(lambda: verdict_of(crucible.home, newest_sweep(crucible.home)) == CRASHED)

    os.kill(sweeping.pid, signal.SIGCONT)

    swept = sweeping.ended()
    assert swept.code == 0, swept.stderr
    assert swept.document["counts"]["matched"] == swept.document["counts"]["submitted"] == _NUMBER
    assert ledger(crucible.home) == {"match": _NUMBER}
    assert verdict_of(crucible.home, newest_sweep(crucible.home)) == "pass"


def verdict_of(home: Path, sweep_id: str) -> str:
    ((verdict,),) = rows(home, "SELECT verdict FROM sweeps WHERE id = :id", id=sweep_id)
    return str(verdict)


def flow_runs(prefect_url: str, name: str) -> list[str]:
    """States of the flow runs of that name; none where Prefect asks for patience."""
    assert urlsplit(prefect_url).hostname == "127.0.0.1"
    wanted = {"flow_runs": {"name": {"any_": [name]}}}
    url = f"{prefect_url}/api/flow_runs/filter"
    found = httpx.post(url, json=wanted, timeout=60, trust_env=False)
    return [each["state_type"] for each in found.json()] if found.is_success else []


def wait_until(condition: Callable[[], bool], running: Running | None = None) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        assert running is None or not running.has_ended(), running.ended()
        time.sleep(0.05)
