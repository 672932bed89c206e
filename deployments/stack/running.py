"""Having a stack: the one that is up, one of one's own for as long as it is needed, or one that stays."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime

from crucible.errors import AlreadyRunning
from crucible.settings import Settings
from deployments.stack.attach import OnProgress, attach, ignore_progress
from deployments.stack.home import Home
from deployments.stack.plan import MakePlan, Plan, plan_passing_stack, plan_stack
from deployments.stack.state import HomeLock, ServiceState, StackState, write_state
from deployments.stack.supervisor import Supervisor, seen_through


@asynccontextmanager
async def running_stack(
    settings: Settings, on_progress: OnProgress = ignore_progress, make_plan: MakePlan = plan_passing_stack
) -> AsyncIterator[StackState]:
    """The stack of this home: the one that is up, else one of one's own, stopped at the end.

    While an own stack runs, SIGTERM and SIGHUP cancel the task that is inside and leave as ``SystemExit``
    once everything is stopped. Raises ``SettingsError``, ``ServiceUnavailable`` or ``StackError`` when
    there can be no stack, the last one also when another command's own stack has this home.
    """
    home = Home.at(settings.home)
    home.create()
    lock = HomeLock(home)
    if not lock.acquire():
        yield await attach(home, settings.start_timeout_s, on_progress)
        return
    with _cancelling_on_signals() as received:
        try:
            plan = make_plan(settings, home)
            async with _started(plan, settings, home, on_progress, ephemeral=True) as state:
                yield state
        finally:
            lock.release()
            if received:
                raise SystemExit(128 + received[0])


async def serve_stack(
    settings: Settings,
    on_ready: Callable[[StackState], None],
    on_progress: OnProgress = ignore_progress,
    make_plan: MakePlan = plan_stack,
) -> None:
    """Runs a stack that others may use until Ctrl-C, SIGTERM or SIGHUP; then stops it and returns.

    Raises ``AlreadyRunning`` when this home has a stack, and what ``running_stack`` raises. It is the
    end of this process that lets the lock go: when the lock is free, nothing is left.
    """
    home = Home.at(settings.home)
    home.create()
    lock = HomeLock(home)
    if not lock.acquire():
        raise AlreadyRunning(f"a stack of {home.root} is running already; `crucible status` shows it")
    with _cancelling_on_signals() as received:
        try:
            plan = make_plan(settings, home)
            async with _started(plan, settings, home, on_progress, ephemeral=False) as state:
                on_ready(state)
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            if received:
                raise SystemExit(128 + received[0]) from None
            raise
        finally:
            home.state.unlink(missing_ok=True)


@asynccontextmanager
async def _started(
    plan: Plan, settings: Settings, home: Home, on_progress: OnProgress, *, ephemeral: bool
) -> AsyncIterator[StackState]:
    board = _Board(home, plan.state, on_progress, ephemeral=ephemeral)
    await asyncio.gather(*(external.check() for external in plan.externals))
    supervisor = Supervisor(plan.services, home, board.change)
    try:
        await supervisor.start(settings.start_timeout_s)
        yield board.state
    finally:
        await seen_through(supervisor.stop())


class _Board:
    """Keeps ``stack.json`` true and tells who watches."""

    def __init__(self, home: Home, state: StackState, on_progress: OnProgress, *, ephemeral: bool) -> None:
        mine = {"pid": os.getpid(), "started_at": datetime.now(UTC), "ephemeral": ephemeral}
        self.state = state.model_copy(update=mine)
        self._home, self._on_progress = home, on_progress
        write_state(home, self.state)

    def change(self, name: str, state: ServiceState, pid: int | None) -> None:
        services = tuple(
            service.model_copy(update={"state": state, "pid": pid}) if service.name == name else service
            for service in self.state.services
        )
        self.state = self.state.model_copy(update={"services": services})
        write_state(self._home, self.state)
        self._on_progress(name, state)


@contextmanager
def _cancelling_on_signals() -> Iterator[list[int]]:
    """The first SIGTERM or SIGHUP cancels the present task; the list yielded then has its number."""
    loop, inside = asyncio.get_running_loop(), asyncio.current_task()
    received: list[int] = []

    def cancel(number: int) -> None:
        if inside is not None and not received:
            received.append(number)
            inside.cancel()

    # Only the main thread may set handlers; and what was started under nohup wants to outlive its terminal.
    main = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGTERM, signal.SIGHUP] if main else []
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        loop.add_signal_handler(number, cancel, number)
    try:
        yield received
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
