"""Local stacks of tests: one that is up for as long as it is needed, and a client of its API."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from deployments.stack import StackState
from tests.support.command_line import CommandLine

_ANSWERS_WITHIN_S = 240.0


@contextmanager
def stack_up(
    home: Path, environment: Mapping[str, str] | None = None, **settings: str
) -> Iterator[CommandLine]:
    """The command line of a home whose stack is up. Stopped at the end, when nothing of it may be left.

    ``environment`` has variables that are none of Crucible's.
    """
    command_line = CommandLine(home, **settings).with_environment(**(environment or {}))
    try:
        up = command_line.run("up", "--detach")
        assert up.code == 0, up.stderr
        yield command_line
        down = command_line.run("down")
        assert down.code == 0, down.stderr
        assert command_line.survivors() == []
    finally:
        command_line.close()


def bearer(state: StackState) -> dict[str, str]:
    """The header with the stack's own key."""
    return {"Authorization": f"Bearer {state.api_key}"}


def client_of(state: StackState, timeout_s: float = _ANSWERS_WITHIN_S) -> httpx.Client:
    """A client of the stack's API, with its key."""
    return httpx.Client(base_url=state.api_url, headers=bearer(state), timeout=timeout_s)
