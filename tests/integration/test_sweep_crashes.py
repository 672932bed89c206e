"""Workers that are killed in mid-sweep lose nothing and double nothing."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, Running
from tests.support.corpora import ledger, prints, write_corpus

pytestmark = pytest.mark.stack

_NUMBER = 120
_KILLED = {"celery-worker": 115, "legacy-worker-1": 80}
"""Workers to kill, and how many evaluations are open by then at most."""


def test_killed_workers_lose_and_double_nothing(crucible: CommandLine, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(_NUMBER, seconds=0.1))
    sweeping = crucible.start("sweep", corpus, "--json")
    for worker, open_at_most in _KILLED.items():
        wait_until_under_way(crucible, sweeping, open_at_most)
        os.kill(crucible.pid_of(worker), signal.SIGKILL)
    swept = sweeping.ended()
    assert swept.code == 0, swept.stderr
    counts = swept.document["counts"]
    assert counts["submitted"] == counts["matched"] == _NUMBER
    assert ledger(crucible.home) == {"match": _NUMBER}
    for worker in _KILLED:
        log = (crucible.home / "logs" / f"{worker}.log").read_text()
        assert f"{worker} was killed by SIGKILL" in log


def wait_until_under_way(crucible: CommandLine, sweeping: Running, open_at_most: int) -> None:
    """Returns when some evaluations are open, and at most so many."""
    while not 0 < ledger(crucible.home)[None] < open_at_most:
        assert not sweeping.has_ended(), sweeping.ended()
        time.sleep(0.02)
