"""The command line of a home without a stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line of a home that has no stack. Nothing of it may be left at the end."""
    command_line = CommandLine(tmp_path / "home")
    try:
        yield command_line
        assert command_line.survivors() == []
    finally:
        command_line.close()
