"""One whole local stack for all tests that need one, and the command line to use it with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.stack import StackState, read_state
from tests.support.command_line import CommandLine


@pytest.fixture(scope="session")
def crucible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The command line of a home whose stack is up. Stopped at the end, when nothing of it may be left."""
    command_line = CommandLine(tmp_path_factory.mktemp("shared") / "home")
    try:
        up = command_line.run("up", "--detach")
        assert up.code == 0, up.stderr
        yield command_line
        down = command_line.run("down")
        assert down.code == 0, down.stderr
        assert command_line.survivors() == []
    finally:
        command_line.close()


@pytest.fixture(scope="session")
def stack(crucible: CommandLine) -> StackState:
    """The state of the stack that is up."""
    state = read_state(crucible.home)
    assert state is not None
    return state


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line of a home that has no stack. Nothing of it may be left at the end."""
    command_line = CommandLine(tmp_path / "home")
    try:
        yield command_line
        assert command_line.survivors() == []
    finally:
        command_line.close()
