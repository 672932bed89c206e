"""Hooks of pytest: say at the end how long stacks took to start, in whatever process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_STARTED: dict[str, float] = {}
_KEY = "stacks that were started"


@contextmanager
def starting(name: str) -> Iterator[None]:
    """Around starting a stack for the test that runs now, or for those after it."""
    began = time.monotonic()
    yield
    _STARTED[name] = time.monotonic() - began


class StackTimes:
    """What all processes of a run have started."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand on what this process has started, or keep it."""
        to_controller = getattr(session.config, "workeroutput", None)
        if to_controller is None:
            self._seconds |= _STARTED
        else:
            to_controller[_KEY] = _STARTED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Keep what another process has handed on, unless it has died."""
        self._seconds |= getattr(node, "workeroutput", {}).get(_KEY, {})

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print it, longest first."""
        if self._seconds:
            whole = sum(self._seconds.values())
            terminalreporter.section(f"{len(self._seconds)} stacks started in {whole:.0f} s")
            for name, seconds in sorted(self._seconds.items(), key=lambda each: -each[1]):
                terminalreporter.write_line(f"{seconds:.1f}s {name}")


def pytest_configure(config: pytest.Config) -> None:
    """Watch this run."""
    config.pluginmanager.register(StackTimes())
