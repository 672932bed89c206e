"""A hook of pytest: on one machine, at most four processes at a time run tests that need much of it.

Those are tests that need a stack, Docker or a browser. With eight such processes, of two runs, servers do not
start in time and programs reach their limits on the clock. So a process holds a lock, its turn, while it runs
a group of such tests, and waits while other processes, of whatever run, hold all turns.
"""

import fcntl
import time
from collections.abc import Generator
from typing import BinaryIO

import pytest

from tests.support.lanes import NEEDS, group_of
from tests.support.machine import locked, shared_folder

TURNS = 4
"""As many as ``make test`` has processes: a run alone waits for none."""

_LOOK_EVERY_S = 0.2
_HELD: list[BinaryIO] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Hold a turn from the first to the last test of a group that needs one."""
    if _needs_turn(item) and not _HELD:
        _HELD.append(turn())
    result = yield
    if _HELD and (nextitem is None or not _needs_turn(nextitem) or group_of(nextitem) != group_of(item)):
        _HELD.pop().close()
    return result


def _needs_turn(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in NEEDS.values())


def turn() -> BinaryIO:
    """Wait for a free turn, in order of arrival, and lock it. The kernel unlocks those of dead processes."""
    with locked("turn"):
        while True:
            for number in range(TURNS):
                file = (shared_folder() / f"turn-{number}.lock").open("ab")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                else:
                    return file
            time.sleep(_LOOK_EVERY_S)
