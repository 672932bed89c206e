"""What a fault is, and what it is given to strike at."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from tests.chaos.books import Books
from tests.chaos.stack import Stack
from tests.chaos.sweeping import Sweep
from tests.chaos.traffic import Traffic


@dataclass(frozen=True)
class Scene:
    """A sweep in the middle, the stack it runs on, and whatever chance decides."""

    stack: Stack
    sweep: Sweep
    traffic: Traffic
    books: Books
    chance: Random

    async def wait(self, seconds: float) -> None:
        """Let the fault last."""
        await asyncio.sleep(seconds)


Strike = Callable[[Scene], Awaitable[None]]
"""Strikes, and returns when the fault is lifted: at once, where it is over as soon as it has struck."""


def _anywhere() -> str | None:
    return None


@dataclass(frozen=True)
class Fault:
    """``bound_s`` is how long it may take from the end of the fault until both legs answer again.

    ``posted`` evaluations are on their way through the API when it strikes. ``by_deployment`` has the
    service ``flows`` run the sweep. ``ends_sweep`` says that the sweep's process cannot end well.
    ``impossible`` says why it cannot be had on this machine, if that is so.
    """

    name: str
    what: str
    bound_s: float
    strike: Strike
    posted: int = 0
    by_deployment: bool = False
    ends_sweep: bool = False
    faked_clocks: bool = False
    impossible: Callable[[], str | None] = _anywhere
