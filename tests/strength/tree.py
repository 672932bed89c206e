"""Copies of the working tree, in which expressions are marked, faults are planted and tests run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.strength import hits
from tests.strength.areas import NOT_RUN
from tests.strength.faults import found

ROOT = Path(__file__).parents[2]
_ADDOPTS = "addopts=--import-mode=importlib --strict-markers"
"""Instead of the project's: no other processes, no reruns, no order of its own."""


class Done(NamedTuple):
    """How tests ended: ``code`` is pytest's, null when they had to be ended."""

    code: int | None
    output: str


class Tree:
    """A copy of the working tree in ``folder``. Processes that its tests start import it, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if folder.exists():
            return
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
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

    def test(self, tests: Sequence[str], within_s: float, *options: str, hits_in: Path | None = None) -> Done:
        """Run ``tests``, files or names; whatever they have started is ended after ``within_s``."""
        environment = {**os.environ, "PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        if hits_in is not None:
            environment |= {hits.FOLDER: str(hits_in)}
            options = (*options, "-p", "tests.strength.hits")
        ignored = [f"--ignore={each}" for each in NOT_RUN]
        log = self._folder / "build" / "strength.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("w") as file:
            running = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-o", _ADDOPTS, "-q", "-rfE", *ignored, *options, *tests],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            try:
                code = running.wait(within_s)
            except subprocess.TimeoutExpired:
                code = None
                running.kill()
                running.wait()
                self._end_all()
        return Done(code, log.read_text(errors="replace"))

    def _end_all(self) -> None:
        """End what tests have started and did not come to end: all that imports this copy."""
        for each in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if each.environ().get("PYTHONPATH", "").startswith(str(self._folder)):
                    each.kill()
