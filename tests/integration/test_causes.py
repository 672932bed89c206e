"""Mismatches of a whole stack are grouped by cause, and each is reduced to a test that fails for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import ROOT, CommandLine
from tests.support.corpora import awkward, line, write_corpus
from tests.support.stores import url_of

pytestmark = pytest.mark.stack

# Without one of its lines the loop never ends; without others it is not well-formed.
_LONG = """\
import sys
import time

words = sys.stdin.read().split()
left = len(words)
while left:
    pass
    left -= 1
print("read", len(words))
print("zone" in words and time.strftime("%H:%M", time.localtime(0)))
"""
_ZONE = [
    line("zone/long", _LONG, stdin="not me\nnor me\nzone\nand not me\n"),
    line("zone/names", "import time\nprint(time.tzname)\n"),
    line("zone/date", "date -d @0\n", language="bash"),
]
_HASHING = [
    line("hashing/set", "words = 'a b c d e f'.split()\nprint('so many:', len(words))\nprint(set(words))\n"),
    line("hashing/lines", "for each in {'a', 'b', 'c', 'd', 'e', 'f'}: print(each)\n"),
    line("hashing/of-text", "print(hash('a'))\n"),
]
_MEMORY = [
    line("memory/python", "print('begins')\nkept = bytearray(120 << 20)\nprint(len(kept))\n"),
    line("memory/bash", "x=$(head -c 90000000 /dev/zero | tr '\\0' a)\necho ${#x}\n", language="bash"),
]
_ALIKE = [line("alike/number", "print(1)"), line("alike/order", "print(sorted({'a', 'b'}))")]


class Swept:
    """A drifted stack that is up, and what a sweep has found on it."""

    def __init__(self, crucible: CommandLine, folder: Path) -> None:
        self.crucible = crucible
        self.folder = folder
        corpus = write_corpus(folder / "corpus.jsonl", [*_ZONE, *_HASHING, *_MEMORY, *_ALIKE])
        done = crucible.run("sweep", corpus, "--report", folder / "report", "--json")
        assert done.code == 1, done.stderr
        self.document = done.document
        report = json.loads((folder / "report" / "report.json").read_text())
        self.ids = {each["name"]: each["evaluation_id"] for each in report["details"]}

    def run_test(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs the test of a reproducer with the crucible command on PATH and the home of the stack."""
        shim = self.folder / "bin" / "crucible"
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f"#!{sys.executable}\nfrom cli.main import main\nmain()\n")
        shim.chmod(0o755)
        (test,) = folder.glob("test_*.py")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, test],
            env={
                **os.environ,
                "CRUCIBLE_HOME": str(self.crucible.home),
                "PATH": f"{shim.parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
            },
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def swept(drifted: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    return Swept(drifted, tmp_path_factory.mktemp("causes"))


def test_three_drifts_of_an_executor_are_three_causes_over_all_languages(swept: Swept) -> None:
    found = {each["summary"]: each for each in swept.document["causes"]}
    assert {summary: each["count"] for summary, each in found.items()} == {
        "another time zone": len(_ZONE),
        "another hash seed or order": len(_HASHING),
        "another limit on memory: celery has less": len(_MEMORY),
    }
    assert found["another time zone"]["languages"] == ["bash", "python"]
    page = (swept.folder / "report" / "report.html").read_text()
    assert all(each["digest"] in page for each in found.values())


def test_causes_of_a_sweep_can_be_asked_for_with_the_chance_of_an_unseen_one(swept: Swept) -> None:
    asked = swept.crucible.run("causes", swept.document["sweep_id"], "--json").document
    assert [each["digest"] for each in asked["causes"]] == [
        each["digest"] for each in swept.document["causes"]
    ]
    assert asked["pairs"] == 10
    assert asked["unseen"] == 0.0
    assert all(each["first_seen"] <= each["last_seen"] for each in asked["causes"])
    assert swept.crucible.run("causes", "sw-unknown").code == 2


def test_a_reproducer_is_smaller_runs_and_fails_for_its_cause(swept: Swept) -> None:
    before = swept.crucible.run("causes", swept.document["sweep_id"], "--json").document
    out = swept.folder / "out"
    made = swept.crucible.run("reproduce", swept.ids["zone/long"], "--out", out, "--at-most", "150", "--json")
    assert made.code == 0, made.stderr
    found = made.document
    assert found["before"]["lines"] == 10
    # Whole blocks go, and what is not asked of the input, though some candidates hang and others break.
    assert found["after"]["lines"] <= 4
    assert found["after"]["stdin_lines"] == 1
    assert found["programs"] <= 150
    assert found["runs"] <= 3 * found["programs"]
    done = swept.run_test(out)
    assert done.returncode == 1
    assert "another time zone; the legs differ in ['stdout']" in done.stdout
    # What was tried on the way is no part of the sweep.
    assert swept.crucible.run("causes", swept.document["sweep_id"], "--json").document == before


def test_the_cap_on_programs_is_kept_and_said(swept: Swept) -> None:
    done = swept.crucible.run("reproduce", swept.ids["hashing/set"], "--at-most", "5", "--json")
    assert done.code == 0, done.stderr
    assert done.document["programs"] <= 5
    assert not done.document["minimal"]


def test_what_is_no_mismatch_cannot_be_reproduced(swept: Swept) -> None:
    unknown = swept.crucible.run("reproduce", "ev-unknown")
    assert unknown.code == 2
    assert "ev-unknown is not settled in this store" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_a_mismatch_that_does_not_show_again_is_said_to_be_gone(swept: Swept) -> None:
    # The store of the sweep, and a stack of its own without the drift.
    other = CommandLine(swept.folder / "other", DATABASE_URL=url_of(swept.crucible.home))
    try:
        gone = other.run("reproduce", swept.ids["hashing/set"])
        assert gone.code == 1
        assert "did not show its mismatch again" in gone.stderr
        assert other.survivors() == []
    finally:
        other.close()


def test_three_drifts_are_three_causes_among_programs_written_by_others(
    drifted: CommandLine, tmp_path: Path
) -> None:
    in_batches = drifted.with_settings(FLOW_CONFIRM_SINGLY="1")
    swept = in_batches.run("sweep", awkward(tmp_path), "--ignore-expectations", "--json")
    assert swept.code == 1, swept.stderr
    assert {each["summary"] for each in swept.document["causes"]} == {
        "another time zone",
        "another hash seed or order",
        "another limit on memory: celery has less",
    }
