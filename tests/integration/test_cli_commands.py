"""Commands that need no stack: what they print, and what they exit with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crucible.corpus import validate
from crucible.models import Observation
from tests.support.command_line import ROOT, CommandLine
from tests.support.in_process import Run, run

__all__ = ["run"]

_COMMANDS = ["sweep", "evaluate", "cancel", "execute", "corpus import", "corpus record"]
_COMMANDS += ["up", "down", "status", "breakers", "bench"]
_COMMANDS += ["store info", "store prune", "store downgrade"]
_NEEDED = ["outcome", "exit_code", "signal", "stdout_b64", "stderr_b64", "stdout_truncated"]
_NEEDED += ["stderr_truncated", "duration_s", "cpu_s", "memory_peak_mb", "executor", "isolation_level"]

_HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def double(number):\n",
    "canonical_solution": "    return 2 * number\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
    "entry_point": "double",
}


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_has_a_help_that_says_what_it_does_and_exits_with(run: Run, command: str) -> None:
    helped = run(*command.split(), "--help")
    assert (helped.code, helped.stderr) == (0, "")
    assert helped.stdout.startswith(f"Usage: crucible {command}")
    assert "Example: crucible" in helped.stdout


def test_the_help_lists_every_command_and_is_shown_when_nothing_is_asked(run: Run) -> None:
    helped = run("--help")
    assert helped.code == 0
    assert {each.split()[0] for each in _COMMANDS} <= set(helped.stdout.split())
    assert run() == helped
    assert run("--version").stdout.startswith("crucible ")


def test_without_a_stack_status_and_down_say_so_and_succeed(run: Run, tmp_path: Path) -> None:
    said = f"not running ({tmp_path / 'home'})\n"
    assert run("status") == (0, said, "")
    assert run("down") == (0, said, "")
    assert run("down", "--json").document == {"stopped": False, "pid": None}
    status = run("status", "--json").document
    assert (status["running"], status["services"], status["api_url"]) == (False, [], None)


def test_execute_reads_an_order_and_prints_one_observation(alone: CommandLine) -> None:
    order = {"language": "python", "code": "import sys; sys.exit(len(input()))", "stdin": "abc\n"}
    done = alone.run("execute", "-", stdin=json.dumps(order))
    assert (done.code, done.stderr) == (0, "")
    assert set(_NEEDED) <= set(done.document)
    seen = Observation.model_validate(done.document)
    assert (seen.outcome, seen.exit_code) == ("nonzero_exit", 3)
    assert seen.isolation_level


def test_execute_refuses_an_order_that_does_not_fit(alone: CommandLine) -> None:
    for order, part in [("{", "Invalid JSON"), ('{"language": "python"}', "code")]:
        done = alone.run("execute", "-", stdin=order)
        assert (done.code, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert part in done.stderr


def test_execute_takes_a_large_program_and_an_empty_one(alone: CommandLine, tmp_path: Path) -> None:
    large, empty = tmp_path / "large.py", tmp_path / "empty.py"
    large.write_text("#" * 5_000_000 + "\nprint('done')")
    empty.touch()
    assert alone.run("execute", large, "--json").document["stdout_b64"] == "ZG9uZQo="
    shown = alone.run("execute", empty)
    assert shown.code == 0
    assert shown.stdout.startswith("ok (exit code 0)")


def test_a_data_set_becomes_a_corpus(run: Run, tmp_path: Path) -> None:
    data_set, corpus = tmp_path / "humaneval.jsonl", tmp_path / "corpus.jsonl"
    data_set.write_text(json.dumps(_HUMANEVAL) + "\n")
    done = run("corpus", "import", "humaneval", data_set, "--output", corpus, "--json")
    assert done.code == 0
    assert done.document == {"imported": 1, "skipped": {}, "output": str(corpus)}
    assert validate([corpus], ["python"], ["python"]).per_language == {"python": 1}
    printed = run("corpus", "import", "humaneval", data_set)
    assert (printed.stdout, printed.stderr) == (corpus.read_text(), "1 imported\n")


def test_whoever_reads_the_output_may_leave(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", "from cli.main import main; main()", "status", "--json"],
        check=False,
        cwd=ROOT,
        env=os.environ | {"CRUCIBLE_HOME": str(tmp_path)},
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
