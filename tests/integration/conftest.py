"""The command line of a home without a stack, and of one whose legs differ."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.drift import DRIFT
from tests.support.stacks import stack_up


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line of a home that has no stack. Nothing of it may be left at the end."""
    command_line = CommandLine(tmp_path / "home")
    try:
        yield command_line
        assert command_line.survivors() == []
    finally:
        command_line.close()


@pytest.fixture(scope="session")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The command line of a home whose stack is up, with an executor that differs from the others."""
    with stack_up(tmp_path_factory.mktemp("drifted") / "home", **DRIFT) as command_line:
        yield command_line
