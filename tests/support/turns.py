"""A hook of pytest: all runs of tests on this machine share a few turns at what loads it.

A stack, a composition or a browser beside three others is work for a machine; beside seven others programs
reach their limits on the clock, and servers theirs to start. So a process takes a turn for a group of tests
that need one of these, and waits while other processes, of other runs too, have all turns.
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
    """Have a turn from the first test of a group that needs one to the last."""
    if _needs_turn(item) and not _HELD:
        _HELD.append(turn())
    result = yield
    if _HELD and (nextitem is None or not _needs_turn(nextitem) or group_of(nextitem) != group_of(item)):
        _HELD.pop().close()
    return result


def _needs_turn(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in NEEDS.values())


def turn() -> BinaryIO:
    """The lock of a turn, once one is free. Who came first is next; the kernel frees those of the dead."""
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
