"""Workers as processes of their own, forked from one that has imported them: tests start a hundred."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

_IMPORTED = ["tasks.celery_leg.worker", "tasks.legacy_leg.worker"]


class Forked:
    """``python -m module`` with all that it writes in a pipe; its methods are as those of ``Popen``."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        reading, writing = _context().Pipe(duplex=False)
        self._process = _context().Process(
            target=_run, args=(module, dict(environment), writing), daemon=True
        )
        self._process.start()
        writing.close()
        self.stdout = os.fdopen(os.dup(reading.fileno()))
        reading.close()
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


@cache
def _context() -> ForkServerContext:
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(_IMPORTED)
    return made


def _run(module: str, environment: dict[str, str], output: Connection) -> None:
    """What the new process does."""
    os.environ.clear()
    os.environ.update(environment)
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    sys.modules.pop(module, None)  # it is begun as a program
    runpy.run_module(module, run_name="__main__", alter_sys=True)
