"""Waiting for a condition instead of sleeping for a time."""

import asyncio
import time
from collections.abc import Callable, Iterator

_WITHIN_S = 240.0
_LONGER = 1.2
_LONGEST_S = 0.25


def pauses(first_s: float, longest_s: float) -> Iterator[float]:
    """Seconds from one look to the next; they grow, since each look costs processor time."""
    pause = first_s
    while True:
        yield pause
        pause = min(pause * _LONGER, longest_s)


async def eventually(condition: Callable[[], bool]) -> None:
    """Returns once ``condition`` holds; fails when it does not within four minutes."""
    between = pauses(0.01, 0.05)
    async with asyncio.timeout(_WITHIN_S):
        while not condition():  # noqa: ASYNC110 (what is waited for happens in another process)
            await asyncio.sleep(next(between))


def patiently(condition: Callable[[], bool], within_s: float = 240) -> None:
    """The same for tests that are no coroutines."""
    deadline = time.monotonic() + within_s
    between = pauses(0.05, _LONGEST_S)
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(next(between))
