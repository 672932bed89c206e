"""Which test executes what a fault would change: a pytest plugin, and what marked expressions call.

Expressions are marked in a copy of the tree, so that processes that tests start report as well. The folder
that ``STRENGTH_HITS`` names gets a file for each process, a line ``number<TAB>test`` for each hit, and the
file ``passed`` with the seconds of each test that passed.
"""

import os
from contextlib import suppress
from pathlib import Path

import pytest

FOLDER = "STRENGTH_HITS"
_folder = Path(os.environ.get(FOLDER, "/nonexistent"))
_seen: set[tuple[int, str]] = set()
_tests: list[str] = []
"""Those that have begun, in the process that runs them."""


def mark(number: int, expression: str) -> str:
    """``expression`` as Python that also says that fault ``number`` would have been executed."""
    return f"(__import__({__name__!r}, fromlist=('hit',)).hit({number}), {expression})[1]"


def hit(number: int) -> None:
    """Note that the test that runs now executes what fault ``number`` changes."""
    with suppress(OSError):  # no test runs, or its process has given its rights away
        test = _tests[-1] if _tests else (_folder / "current").read_text()
        if (number, test) not in _seen:
            _note(f"hits-{os.getpid()}", f"{number}\t{test}")
            _seen.add((number, test))


def lines(folder: Path, files: str) -> list[list[str]]:
    """What was noted in these files of ``folder``."""
    return [line.split("\t") for file in folder.glob(files) for line in file.read_text().splitlines()]


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test begins."""
    _tests.append(nodeid)
    (_folder / "current.new").write_text(nodeid)
    (_folder / "current.new").rename(_folder / "current")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test has passed."""
    if report.when == "call" and report.passed:
        with suppress(OSError):
            _note("passed", f"{report.duration:.3f}\t{report.nodeid}")


def _note(file: str, line: str) -> None:
    with (_folder / file).open("a") as opened:
        opened.write(f"{line}\n")
