"""Copies of the working tree, in which expressions are marked, faults are planted and tests run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.strength import forks, hits
from tests.strength.areas import NOT_RUN
from tests.strength.faults import found

ROOT = Path(__file__).parents[2]
Runner = Callable[[str, Sequence[str], float], str | None]
"""Given a module with a fault, names of tests, and seconds: which fails first, and why; null if none."""

_ADDOPTS = "addopts=--import-mode=importlib --strict-markers"
"""Instead of the project's: no other processes, no reruns, no order of its own."""


class Tree:
    """A copy of the working tree in ``folder``. Processes that its tests start import it, too."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._log = folder, folder / "build" / "strength.log"
        if folder.exists():
            return
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        for compiled in ROOT.glob("[a-z]*/**/__pycache__"):
            if (there := folder / compiled.relative_to(ROOT)).parent.exists():
                shutil.copytree(compiled, there)
        (folder / ".venv").symlink_to(ROOT / ".venv")

    def change(self, module: str, changes: Mapping[str, int | None]) -> bool:
        """Plant the faults of these names, or mark those with a number; False when there is none of them."""
        path = self._folder / module
        source = path.read_text() if path.exists() else ""
        there = [each for each in found(source, module) if each.name in changes]
        for each in sorted(there, key=lambda fault: fault.start, reverse=True):
            number = changes[each.name]
            new = f"({each.after})" if number is None else hits.mark(number, source[each.start : each.end])
            source = source[: each.start] + new + source[each.end :]
        if there:
            path.write_text(source)
        return bool(there)

    def restore(self, modules: Iterable[str]) -> None:
        """Have these modules as they are in the working tree, with the time of their last change."""
        for module in modules:
            if (ROOT / module).exists():
                shutil.copy2(ROOT / module, self._folder / module)

    def learn(self, tests: Sequence[str], hits_in: Path) -> str:
        """Run ``tests``, files or folders, and note in ``hits_in`` which of them execute what is marked."""
        self._start(tests, "tests.strength.hits", {hits.FOLDER: str(hits_in)}).wait()
        return self._log.read_text(errors="replace")

    @contextmanager
    def collected(self, tests: Sequence[str]) -> Iterator[Runner]:
        """What runs some of ``tests``, files or folders; there must be no fault yet."""
        orders, answers = os.pipe(), os.pipe()
        pipes = (orders[0], answers[1])
        running = self._start(tests, "tests.strength.forks", {forks.PIPES: "{},{}".format(*pipes)}, pipes)
        for each in pipes:
            os.close(each)
        with os.fdopen(orders[1], "w") as given, os.fdopen(answers[0]) as taken:
            assert taken.readline(), self._log.read_text(errors="replace")

            def run(module: str, some: Sequence[str], within_s: float) -> str | None:
                source = (ROOT / module).read_text()
                order = {"module": module, "source": source, "tests": some, "within_s": within_s}
                print(json.dumps(order), file=given, flush=True)
                failed: str | None = json.loads(taken.readline())
                self._end_started(running.pid)
                return failed

            yield run
        running.wait()

    def _start(
        self, tests: Sequence[str], plugin: str, variables: Mapping[str, str], pipes: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        ignored = [f"--ignore={each}" for each in NOT_RUN]
        there = [each for each in tests if (ROOT / each).exists()]
        self._log.parent.mkdir(exist_ok=True)
        with self._log.open("w") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", "-o", _ADDOPTS, "-q", "-p", plugin, *ignored, *there],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(self._folder), **variables},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=pipes,
            )

    def _end_started(self, but: int) -> None:
        """End what tests have started and did not come to end: all that imports this copy."""
        for each in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if each.pid != but and each.environ().get("PYTHONPATH", "").startswith(str(self._folder)):
                    each.kill()
