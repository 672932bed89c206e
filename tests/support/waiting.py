"""Waiting for a condition instead of sleeping for a time."""

import asyncio
import time
from collections.abc import Callable

_WITHIN_S = 240.0


async def eventually(condition: Callable[[], bool]) -> None:
    """Returns once ``condition`` holds; fails when it does not within four minutes."""
    async with asyncio.timeout(_WITHIN_S):
        while not condition():  # noqa: ASYNC110 (what is waited for happens in another process)
            await asyncio.sleep(0.01)


def patiently(condition: Callable[[], bool], within_s: float = 240) -> None:
    """The same for tests that are no coroutines."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
