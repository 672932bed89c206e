"""The real command line in a home of its own, as a process, and whoever belongs to that home."""

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from deployments.stack import ServiceStatus, StackState, read_state
from tests.support import stores
from tests.support.forked import ForkedCommand
from tests.support.stack_times import starting
from tests.support.waiting import patiently, pauses

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240
_GONE_WITHIN_S = 240


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """What it printed, as JSON; fails when there is anything else on standard output."""
        return json.loads(self.stdout)


class Running:
    """A command that may still run."""

    def __init__(self, words: Iterable[str], environment: dict[str, str]) -> None:
        self._process = ForkedCommand(words, environment, ROOT)
        self.pid = self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, and none to what it has started."""
        self._process.send_signal(number)

    def ended(self, stdin: str = "") -> Done:
        """How it ended; waits for that."""
        stdout, stderr = self._process.communicate(stdin, PATIENCE_S)
        return Done(self._process.wait(), stdout, stderr)

    def has_ended(self) -> bool:
        """Whether there is nothing left to interrupt."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends it if a failed test has left it, and lets go of its output."""
        self._process.close()


def far_from_now() -> str:
    """A cron expression, in UTC, of a time that does not come for eleven hours."""
    return f"0 {(datetime.now(UTC).hour + 12) % 24} * * *"


class CommandLine:
    """``crucible`` with a home, and settings given as the environment without ``CRUCIBLE_``.

    Its stack sweeps by itself when no test runs any more, whatever the time of day is now, and may take long
    to start, as on a machine that starts others.
    """

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        ours = {name: value for name, value in os.environ.items() if not name.startswith("CRUCIBLE_")}
        if stores.on_postgres() and "DATABASE_URL" not in settings:
            settings["DATABASE_URL"] = stores.keep_in_postgres(home)
        settings = {"SCHEDULE_CRON": far_from_now(), "START_TIMEOUT_S": str(PATIENCE_S)} | settings
        given = {f"CRUCIBLE_{name}": value for name, value in settings.items()}
        self._environment = {**ours, "CRUCIBLE_HOME": str(home), **given}
        self._started: list[Running] = []

    def with_settings(self, **settings: str) -> "CommandLine":
        """The same home for commands with other settings."""
        other = CommandLine(self.home)
        other._environment = self._environment | {
            f"CRUCIBLE_{name}": value for name, value in settings.items()
        }
        other._started = self._started
        return other

    def with_environment(self, **variables: str) -> "CommandLine":
        """The same home for commands with variables that are none of Crucible's."""
        other = self.with_settings()
        other._environment |= variables
        return other

    def start(self, *words: str | Path) -> Running:
        """Starts a command and returns at once."""
        self._started.append(Running(map(str, words), self._environment))
        return self._started[-1]

    def run(self, *words: str | Path, stdin: str = "") -> Done:
        """Runs a command to its end."""
        with starting(str(self.home)) if words[0] == "up" else nullcontext():
            return self.start(*words).ended(stdin)

    def state(self) -> StackState:
        """The state of the stack that is up."""
        found = read_state(self.home)
        assert found is not None
        return found

    def service(self, name: str) -> ServiceStatus:
        """How a service of that stack is doing."""
        return next(each for each in self.state().services if each.name == name)

    def pid_of(self, service: str) -> int:
        """Process id of a service of the stack that is up; waits while that is started again."""
        found: list[int] = []

        def is_there() -> bool:
            pid = self.service(service).pid
            with suppress(psutil.Error):
                if pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found.append(pid)
            return bool(found)

        patiently(is_there)
        return found[0]

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """A service that hangs: it neither ends nor goes on."""
        pid = self.pid_of(service)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def survivors(self) -> list[str]:
        """Command lines of the home's processes that do not go away; there should be none."""
        deadline = time.monotonic() + _GONE_WITHIN_S
        between = pauses(0.05, 0.5)
        while (left := self._members()) and time.monotonic() < deadline:
            time.sleep(next(between))
        return [" ".join(words) for words in left.values()]

    def close(self) -> None:
        """Ends whatever a failed test has left."""
        for each in self._started:
            each.close()
        for pid in self._members():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _members(self) -> dict[int, list[str]]:
        """Processes that have the home in their environment or on their command line."""
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                known_by = process.environ().get("CRUCIBLE_HOME") == str(self.home)
                if process.pid != os.getpid() and (known_by or str(self.home) in " ".join(words)):
                    found[process.pid] = words
        return found
