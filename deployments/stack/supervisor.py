"""Starts services, keeps them running, and stops them all."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from crucible.errors import StackError
from deployments.stack.child import Child, Guard
from deployments.stack.home import Home, ServiceState
from deployments.stack.service import ServiceSpec

OnChange = Callable[[str, ServiceState, int | None], None]
"""Hears of every change: name, state, process id."""

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 10.0
_STEADY_S = 30.0
"""A service that was ready for so long has earned a quick restart again."""

GRACE_S = 15.0
"""Longer than a worker takes to give back what it cannot finish."""


class Keeper:
    """The life of one service over all its processes. ``started`` is set when it was ready once."""

    def __init__(self, spec: ServiceSpec, log: Path, guard: Guard, on_change: OnChange) -> None:
        self.spec = spec
        self.started = asyncio.Event()
        self._log, self._guard = log, guard
        self._on_change = on_change
        self._child: Child | None = None

    async def run(self) -> None:
        """Starts the service and starts it again whenever it ends, until cancelled.

        Raises ``StackError`` when it ends before it was ready for the first time: starting it again
        would only hide why.
        """
        delay = _FIRST_DELAY_S
        while True:
            ready_for_s = await self._live_once()
            if not self.started.is_set():
                raise StackError(self._epitaph())
            delay = _FIRST_DELAY_S if ready_for_s > _STEADY_S else delay
            self._report(ServiceState.RESTARTING, None)
            self._note(f"{self._epitaph()}; it is started again in {delay} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_S)

    async def stop(self, grace_s: float) -> None:
        """Ends the process there is, if there is one. ``run`` must have been cancelled before."""
        if self._child is not None:
            await self._child.stop(grace_s)
            self._child = None
            self._report(ServiceState.STOPPED, None)

    async def _live_once(self) -> float:
        self._child = child = await Child.spawn(self.spec, self._log, self._guard)
        again = self.started.is_set()
        self._report(ServiceState.RESTARTING if again else ServiceState.STARTING, child.pid)
        ready_for_s = 0.0
        if await child.becomes_ready():
            since = time.monotonic()
            self._report(ServiceState.READY, child.pid)
            self.started.set()
            await child.ended()
            ready_for_s = time.monotonic() - since
        else:
            await child.ended()
        return ready_for_s

    def _epitaph(self) -> str:
        return self._child.epitaph() if self._child else self.spec.name

    def _report(self, state: ServiceState, pid: int | None) -> None:
        self._on_change(self.spec.name, state, pid)

    def _note(self, text: str) -> None:
        with self._log.open("a") as log:
            log.write(f"[crucible] {text}\n")


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
