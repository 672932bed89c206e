"""Using, starting and ending a stack that another process runs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

from crucible.errors import AlreadyRunning, CrucibleError, SettingsError, StackError
from crucible.settings import Settings
from deployments.stack.environment import import_path
from deployments.stack.home import Home
from deployments.stack.state import StackState, is_held, read_state

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
