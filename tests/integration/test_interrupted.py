"""Commands with a stack of their own leave nothing behind, however they end."""

import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.corpora import is_under_way, ledger, prints, write_corpus

pytestmark = pytest.mark.stack

_NUMBER, _EACH_S = 60, 1.0
"""Far more work than can be done between a look at the ledger and the end that a signal brings."""


def test_evaluate_starts_a_stack_when_there_is_none_and_stops_it(alone: CommandLine, tmp_path: Path) -> None:
    program = tmp_path / "six.py"
    program.write_text("print(sum(map(int, input().split())))")
    words = tmp_path / "words"
    words.write_text("1 2 3\n")
    found = alone.run("evaluate", program, "--stdin", words, "--json")
    assert found.code == 0, found.stderr
    assert found.document["classification"] == "match"
    assert {found.document[leg]["stdout_b64"] for leg in ("legacy", "celery")} == {"Ngo="}
    assert alone.run("status").stdout.startswith("not running")


def test_interrupted_while_its_stack_comes_up_it_leaves_nothing(alone: CommandLine, tmp_path: Path) -> None:
    for services in (2, 7):
        sweeping = alone.start("sweep", write_corpus(tmp_path / "corpus.jsonl", prints(1)))
        while len(list((alone.home / "logs").glob("*.log"))) < services:
            assert not sweeping.has_ended(), sweeping.ended()
            time.sleep(0.02)
        sweeping.send(signal.SIGINT)
        interrupted = sweeping.ended()
        assert interrupted.code == 130, interrupted.stderr
        assert "Traceback" not in interrupted.stderr
        assert alone.survivors() == []
        shutil.rmtree(alone.home)


def test_a_sweep_that_is_interrupted_leaves_nothing_running_and_its_ledger_adds_up(
    alone: CommandLine, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(_NUMBER, seconds=_EACH_S))
    sweeping = alone.start("sweep", corpus)
    while not is_under_way(alone.home):
        assert not sweeping.has_ended(), sweeping.ended()
        time.sleep(0.02)
    sweeping.send(signal.SIGTERM)
    interrupted = sweeping.ended()
    assert interrupted.code == 143, interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    assert interrupted.stdout == ""
    counted = ledger(alone.home)
    assert counted.total() == counted["match"] + counted["cancelled"] == _NUMBER
    assert counted["match"]
    assert counted["cancelled"]


def test_on_a_stack_that_is_up_an_interrupted_sweep_leaves_all_but_itself_running(
    crucible: CommandLine, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(_NUMBER, seconds=_EACH_S))
    sweeping = crucible.start("sweep", corpus)
    while not is_under_way(crucible.home):
        assert not sweeping.has_ended(), sweeping.ended()
        time.sleep(0.02)
    sweeping.send(signal.SIGINT)
    assert sweeping.ended().code == 130
    counted = ledger(crucible.home)
    assert counted.total() == counted["match"] + counted["cancelled"] == _NUMBER
    services = crucible.run("status", "--json").document["services"]
    assert {each["state"] for each in services} == {"ready"}
