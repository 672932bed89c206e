"""Keeps one service running."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from crucible.errors import StackError
from deployments.stack.child import Child
from deployments.stack.guard import Guard
from deployments.stack.service import ServiceSpec
from deployments.stack.state import ServiceState

OnChange = Callable[[str, ServiceState, int | None], None]
"""Hears of every change: name, state, process id."""

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 10.0
_STEADY_S = 30.0
"""A service that was ready for so long has earned a quick restart again."""


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
