"""Processes forked from one that has imported what they begin with: tests start hundreds of them."""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

_IMPORTED = [
    "cli.main",
    "executors.executor",
    "executors.service.app",
    "tasks.celery_leg.worker",
    "tasks.legacy_leg.worker",
]


class Forked:
    """A process; its methods are as those of ``Popen``."""

    def __init__(self, run: Callable[..., None], *given: object) -> None:
        self._process = _context().Process(target=run, args=given, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, once it has ended; below 0 the number of the signal that ended it."""
        return self._process.exitcode

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit code. Raises ``subprocess.TimeoutExpired``."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout_s or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it one, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class ForkedModule(Forked):
    """``python -m module`` with what it writes in a pipe, or, ``apart``, in one for each stream."""

    def __init__(self, module: str, environment: Mapping[str, str], *, apart: bool = False) -> None:
        pipes = [_context().Pipe(duplex=False) for _ in range(1 + apart)]
        super().__init__(_run_module, module, dict(environment), pipes[0][1], pipes[-1][1])
        for _, writing in pipes:
            writing.close()
        readable = [os.fdopen(os.dup(reading.fileno())) for reading, _ in pipes]
        self.stdout, self.stderr = readable[0], readable[-1]
        for reading, _ in pipes:
            reading.close()

    def communicate(self) -> tuple[str, str]:
        """What it still writes to each stream, once it has ended."""
        written = self.stdout.read(), self.stderr.read()
        self.wait()
        return written

    def close(self) -> None:
        """End it, and let go of what it wrote."""
        self.kill()
        self.wait()
        self.stdout.close()
        self.stderr.close()


class ForkedCommand(Forked):
    """``crucible words...`` in a folder, with all that it writes in files."""

    def __init__(self, words: Iterable[str], environment: Mapping[str, str], folder: Path) -> None:
        # Closed by whoever reads them.
        self._stdout, self._stderr = TemporaryFile(), TemporaryFile()  # noqa: SIM115
        reading, self._stdin = _context().Pipe(duplex=False)
        writing = [Connection(os.dup(each.fileno()), readable=False) for each in (self._stdout, self._stderr)]
        super().__init__(_run_command, list(words), dict(environment), str(folder), reading, *writing)
        for each in (reading, *writing):
            each.close()

    def communicate(self, stdin: str, timeout_s: float) -> tuple[str, str]:
        """What it wrote to both, once it has ended. Raises ``subprocess.TimeoutExpired``."""
        with os.fdopen(os.dup(self._stdin.fileno()), "w") as pipe:
            self._stdin.close()
            pipe.write(stdin)
        self.wait(timeout_s)
        with self._stdout as stdout, self._stderr as stderr:
            return _whole(stdout), _whole(stderr)

    def close(self) -> None:
        """End it, and let go of what it wrote."""
        self.kill()
        self.wait()
        for each in (self._stdin, self._stdout, self._stderr):
            each.close()


@cache
def _context() -> ForkServerContext:
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(_IMPORTED)
    return made


def _run_module(module: str, environment: Mapping[str, str], stdout: Connection, stderr: Connection) -> None:
    _begin(environment, {1: stdout, 2: stderr})
    sys.modules.pop(module, None)  # it is begun as a program
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _run_command(
    words: list[str],
    environment: Mapping[str, str],
    folder: str,
    stdin: Connection,
    stdout: Connection,
    stderr: Connection,
) -> None:
    _begin(environment, {0: stdin, 1: stdout, 2: stderr})
    from cli.main import main  # noqa: PLC0415  (imported long ago, by the process that this one is a copy of)

    os.chdir(folder)
    sys.stdin = open(0)  # noqa: SIM115  (multiprocessing has closed it)
    sys.argv = ["crucible", *words]
    try:
        main()
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out


def _begin(environment: Mapping[str, str], files: Mapping[int, Connection]) -> None:
    """Have this environment and these files, as a program that has just been started."""
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, file in files.items():
        os.dup2(file.fileno(), descriptor)
    for file in files.values():
        file.close()


def _whole(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
