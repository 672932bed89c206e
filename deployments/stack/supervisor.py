"""Starts services, keeps them running, and stops them all."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from crucible.errors import StackError
from deployments.stack.guard import Guard
from deployments.stack.home import Home
from deployments.stack.keeper import Keeper, OnChange
from deployments.stack.service import ServiceSpec

GRACE_S = 15.0
"""Longer than a worker takes to give back what it cannot finish."""


class Supervisor:
    """All services of one stack. There must be a ``stop``, even when ``start`` raised.

    A service that has not ended ``grace_s`` seconds after SIGTERM is killed.
    """

    def __init__(
        self, services: Sequence[ServiceSpec], home: Home, on_change: OnChange, grace_s: float = GRACE_S
    ) -> None:
        self._grace_s = grace_s
        for spec in services:
            log = home.log(spec.name)
            if log.exists():
                log.replace(log.with_suffix(".log.1"))
        self._guard = Guard()
        self._keepers = {
            spec.name: Keeper(spec, home.log(spec.name), self._guard, on_change) for spec in services
        }
        self._lives: list[asyncio.Task[None]] = []

    async def start(self, timeout_s: float) -> None:
        """Starts all services, as many at once as may be, and returns when all are ready.

        Raises ``StackError`` when one ends or is not ready in time.
        """
        self._lives = [asyncio.create_task(self._live(keeper)) for keeper in self._keepers.values()]
        ready = asyncio.create_task(self._all_started())
        try:
            await asyncio.wait({ready, *self._lives}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for life in self._lives:
                if life.done():
                    life.result()
            if not ready.done():
                raise StackError(self._not_ready(timeout_s))
        finally:
            ready.cancel()

    async def stop(self) -> None:
        """Stops all services, those that use others first; nothing of them is left afterwards."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        for tier in sorted({keeper.spec.tier for keeper in self._keepers.values()}, reverse=True):
            of_tier = (keeper for keeper in self._keepers.values() if keeper.spec.tier == tier)
            await asyncio.gather(*(keeper.stop(self._grace_s) for keeper in of_tier))
        self._guard.close()

    async def _live(self, keeper: Keeper) -> None:
        for name in keeper.spec.after:
            await self._keepers[name].started.wait()
        await keeper.run()

    async def _all_started(self) -> None:
        for keeper in self._keepers.values():
            await keeper.started.wait()

    def _not_ready(self, timeout_s: float) -> str:
        missing = [name for name, keeper in self._keepers.items() if not keeper.started.is_set()]
        return (
            f"not ready within {timeout_s:g} s: {', '.join(missing)};"
            " see the logs, or set CRUCIBLE_START_TIMEOUT_S higher on a slow machine"
        )


async def seen_through(work: Coroutine[Any, Any, None]) -> None:
    """Finishes ``work`` even when the caller is cancelled meanwhile, and only then lets it be cancelled."""
    running = asyncio.ensure_future(work)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise
