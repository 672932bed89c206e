"""``python -m executors.service``: one executor, set by ``CRUCIBLE_EXECUTOR_*``."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from crucible.errors import CrucibleError, InputError, SettingsError
from crucible.logging import configure_logging
from crucible.settings import ExecutorSettings, load
from executors.executor import Executor
from executors.service.app import create_app
from executors.service.queue import Drain

READY_LINE = "CRUCIBLE_READY"
"""Printed once requests are taken."""

_KEEP_ALIVE_S = 3600
"""Longer than any worker keeps an idle connection: a server that hangs up first breaks the next request."""
_SENT_WITHIN_S = 5
"""How long the last answers may take on their way to callers."""
_INPUT_FAULT, _PLATFORM_FAULT = 2, 4


def main() -> int:
    """Serve until SIGTERM; exit 2 on a setting that cannot be used, 4 where programs cannot be isolated."""
    try:
        settings = load(ExecutorSettings)
        configure_logging(service=settings.name)
        if not settings.token.get_secret_value():
            raise SettingsError("CRUCIBLE_EXECUTOR_TOKEN is empty; set it to a secret that workers share")
        with _bound(settings) as listener:
            uvloop.run(_serve(settings, listener))
    except CrucibleError as error:
        sys.stderr.write(f"{error}\n")
        return _INPUT_FAULT if isinstance(error, InputError) else _PLATFORM_FAULT
    return 0


class _Server(uvicorn.Server):
    """Uvicorn's server without its own handling of signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(settings: ExecutorSettings, listener: socket.socket) -> None:
    drain = Drain(settings.drain_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, drain.signalled)
    executor = Executor(settings)
    server = _server(executor, settings, drain)
    try:
        await executor.open()
        listener.listen()
        sys.stdout.write(READY_LINE + "\n")
        sys.stdout.flush()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve([listener]))
            await drain.over()
            await executor.close()  # whoever still waits has an answer with this
            server.should_exit = True
    finally:
        await executor.close()


def _server(executor: Executor, settings: ExecutorSettings, drain: Drain) -> _Server:
    return _Server(
        uvicorn.Config(
            create_app(executor, settings, drain),
            lifespan="off",
            access_log=False,
            log_level="warning",
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_SENT_WITHIN_S,
        )
    )


def _bound(settings: ExecutorSettings) -> socket.socket:
    """A socket at the set address; taken before anything is started, so that one in use is a plain error."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "set CRUCIBLE_EXECUTOR_HOST and CRUCIBLE_EXECUTOR_PORT to an address that is free"
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main())
