"""The server process: ready when it says so, gone within seconds of SIGTERM."""

import asyncio
import socket

import uvicorn

from api.app import create_app
from api.options import ApiOptions
from api.wiring import open_parts
from crucible.errors import SettingsError
from flows.process import call_on_ending, say_ready

_DRAIN_S = 3


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        say_ready()


async def serve(options: ApiOptions) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that wait are answered then as they stand.

    Raises ``SettingsError`` for a port that cannot be had, and what ``open_parts`` raises. To be called
    in the main thread of a process that has blocked both signals (``run_process``).
    """
    stopping = asyncio.Event()
    call_on_ending(stopping.set)
    with _listener(options.host, options.port) as listener:
        async with open_parts(options) as parts:
            config = uvicorn.Config(
                create_app(parts),
                access_log=False,
                server_header=False,
                log_level="warning",
                timeout_graceful_shutdown=_DRAIN_S,
            )
            server = _Server(config)
            serving = asyncio.create_task(server.serve([listener]))
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            parts.waiters.release()
            parts.feed.close()
            server.should_exit = True
            await serving


def _listener(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise SettingsError(
            f"CRUCIBLE_API_PORT={port}: {error.strerror} on {host}; stop what listens there, or set another"
            " port, or another CRUCIBLE_API_HOST"
        ) from error
    # An answer goes out in two parts, and the second one would wait 40 ms for word that the first has come.
    # asyncio sees to that itself, but not for sockets that were made without naming TCP.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
