"""Having a stack: the one that is up, one of one's own for as long as it is needed, or one that stays."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

from crucible.errors import AlreadyRunning, CrucibleError, SettingsError, StackError
from crucible.settings import Settings
from deployments.stack.environment import import_path
from deployments.stack.home import Home, HomeLock, ServiceState, StackState, is_held, read_state, write_state
from deployments.stack.plan import MakePlan, Plan, plan_passing_stack, plan_stack
from deployments.stack.supervisor import Supervisor, seen_through

OnProgress = Callable[[str, str], None]
"""Hears which service came into which state, by names."""

_LOOK_EVERY_S = 0.1


def ignore_progress(_name: str, _state: str) -> None:
    """For those who do not want to know."""


EXIT_BAD_INPUT = 2
EXIT_FAULT = 4
_STOPPING_S = 20.0


async def attach(
    home: Home,
    timeout_s: float,
    on_progress: OnProgress = ignore_progress,
    watch: Callable[[], None] | None = None,
) -> StackState:
    """The stack that is up in this home, once all its services have been ready.

    ``watch`` is called at every look and raises when waiting is in vain; by default ``StackError`` when
    nobody has the lock. Raises ``StackError``, too, when the stack belongs to one command alone, or is not
    up in time.
    """
    watch = watch or partial(_expect_held, home)
    seen: dict[str, str] = {}
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        watch()
        state = read_state(home.root)
        if state is not None:
            _refuse_ephemeral(home, state)
            for service in state.services:
                if seen.get(service.name) != service.state:
                    seen[service.name] = service.state
                    on_progress(service.name, service.state)
            if state.is_up:
                return state
        await asyncio.sleep(_LOOK_EVERY_S)
    raise StackError(
        f"the stack of {home.root} is not up after {timeout_s:g} s; see the logs in {home.root / 'logs'}"
    )


async def start_detached(settings: Settings, on_progress: OnProgress = ignore_progress) -> StackState:
    """Starts the stack in a session of its own and returns when it is up.

    Raises ``AlreadyRunning`` when this home has a stack, and what kept the new one from coming up. When
    this is interrupted, the new one is ended.
    """
    home = Home.at(settings.home)
    home.create()
    if is_held(home):
        raise AlreadyRunning(f"a stack of {home.root} is running already; `crucible status` shows it")
    server = _start_server(home)

    def watch() -> None:
        if server.poll() is not None:
            raise _fault(home, server.returncode)

    with ExitStack() as on_failure:
        on_failure.callback(_end, server)
        # Longer than the server gives itself, for it knows better what is missing.
        state = await attach(home, settings.start_timeout_s + _STOPPING_S, on_progress, watch)
        on_failure.pop_all()
    return state


async def stop_stack(home: Home, timeout_s: float) -> int | None:
    """Ends the stack that is up and waits until nothing of it is left.

    Returns its process id, or none if none was up.

    Raises ``StackError`` when it belongs to one command alone, or does not end in time.
    """
    state = read_state(home.root)
    if state is None:
        return None
    _refuse_ephemeral(home, state)
    with suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while is_held(home):
        if time.monotonic() > deadline:
            raise StackError(
                f"the stack's process {state.pid} has not ended within {timeout_s:g} s;"
                f" `kill -9 {state.pid}` ends it and everything it started"
            )
        await asyncio.sleep(_LOOK_EVERY_S)
    return state.pid


def _expect_held(home: Home) -> None:
    if not is_held(home):
        raise StackError(f"the stack of {home.root} has just ended; try again")


def _refuse_ephemeral(home: Home, state: StackState) -> None:
    if state.ephemeral:
        raise StackError(
            f"{home.root} is in use by the stack that process {state.pid} started for itself alone; wait for"
            " its end, or set CRUCIBLE_HOME to another folder (to share one stack, run `crucible up` first)"
        )


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait()


def _start_server(home: Home) -> subprocess.Popen[bytes]:
    with home.log("stack").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "deployments.stack"],
            env={**os.environ, **import_path(), "CRUCIBLE_HOME": str(home.root)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _fault(home: Home, code: int) -> CrucibleError:
    log = home.log("stack")
    said = log.read_text(errors="replace").strip().splitlines() or [f"it ended with {code} and said nothing"]
    if code == EXIT_BAD_INPUT:
        return SettingsError(said[-1])
    if code == EXIT_FAULT:
        return StackError(said[-1])
    return StackError(f"the stack's process ended with {code}: {said[-1]} (log: {log})")


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
