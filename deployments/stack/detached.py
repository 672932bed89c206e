"""Starting a stack that stays when the command has ended."""

import os
import subprocess
import sys
from contextlib import ExitStack

from crucible.errors import AlreadyRunning, CrucibleError, SettingsError, StackError
from crucible.settings import Settings
from deployments.stack.attach import OnProgress, attach, ignore_progress
from deployments.stack.environment import import_path
from deployments.stack.home import Home
from deployments.stack.state import StackState, is_held

EXIT_BAD_INPUT = 2
EXIT_FAULT = 4
_STOPPING_S = 20.0


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
