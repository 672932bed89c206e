"""Using, and ending, a stack that another process runs."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from crucible.errors import StackError
from deployments.stack.home import Home
from deployments.stack.state import StackState, is_held, read_state

OnProgress = Callable[[str, str], None]
"""Hears which service came into which state, by names."""

_LOOK_EVERY_S = 0.1


def ignore_progress(_name: str, _state: str) -> None:
    """For those who do not want to know."""


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
