"""The server process: ready when it says so, gone within seconds of SIGTERM."""

import asyncio
import socket
import sys

import uvicorn

from api.app import create_app
from api.options import ApiOptions
from api.wiring import open_parts
from crucible.errors import SettingsError
from flows.endings import call_on_ending

READY_LINE = "CRUCIBLE_READY"

_LOOPBACK = "127.0.0.1"
_DRAIN_S = 3


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"{READY_LINE}\n")
        sys.stdout.flush()


async def serve(options: ApiOptions) -> None:
    """Serve on loopback until SIGTERM or Ctrl-C; requests that wait are answered then as they stand.

    Raises ``SettingsError`` for a port that cannot be had, and what ``open_parts`` raises. To be called
    in the main thread of a process that has blocked both signals (``block_endings``).
    """
    stopping = asyncio.Event()
    call_on_ending(stopping.set)
    with _listener(options.port) as listener:
        async with open_parts(options) as parts:
            config = uvicorn.Config(
                create_app(parts, options.key),
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=_DRAIN_S,
            )
            server = _Server(config)
            serving = asyncio.create_task(server.serve([listener]))
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            parts.waiters.release()
            server.should_exit = True
            await serving


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((_LOOPBACK, port))
    except OSError as error:
        raise SettingsError(
            f"CRUCIBLE_API_PORT={port}: {error.strerror}; stop what listens there, or set another port"
        ) from error
