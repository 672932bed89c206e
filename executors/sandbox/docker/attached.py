"""The connection to a container's launcher: Docker's multiplexed streams, and our frames in them."""

import asyncio
import contextlib
import struct
from typing import Any

from executors.sandbox.supervision import wire

_STREAM_PREFIX = struct.Struct("!BxxxI")
_STDOUT = 1
_MOST_SAID = 2000
_SWITCHED = b" 101 "


class LauncherLostError(Exception):
    """The launcher will say nothing more: it, its container or the Docker daemon is gone."""


class Attached:
    """Standard input and output of one container's launcher. ``said`` is what it wrote to standard error."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._taken = bytearray()
        self.said = b""

    @property
    def lost(self) -> bool:
        """Whether the connection is known to have ended."""
        return self._reader.at_eof() or self._reader.exception() is not None

    def send(self, header: dict[str, Any], *blobs: bytes | bytearray) -> None:
        """Send a frame."""
        self._writer.writelines(wire.encode(header, *blobs))

    def cancel(self) -> None:
        """Make the launcher end its program; without effect if there is none any more."""
        self._writer.write(wire.CANCEL)

    async def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        """The next frame; raises ``LauncherLostError`` when there is none to come."""
        try:
            header_size, body_size = wire.PREFIX.unpack(await self._exactly(wire.PREFIX.size))
            return wire.decode(await self._exactly(header_size), await self._exactly(body_size))
        except (asyncio.IncompleteReadError, OSError) as error:
            said = self.said.decode(errors="replace").strip().splitlines()
            raise LauncherLostError(said[-1] if said else "it has ended") from error

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _exactly(self, size: int) -> bytes:
        while len(self._taken) < size:
            kind, length = _STREAM_PREFIX.unpack(await self._reader.readexactly(_STREAM_PREFIX.size))
            data = await self._reader.readexactly(length)
            if kind == _STDOUT:
                self._taken += data
            else:
                self.said = (self.said + data)[-_MOST_SAID:]
        found = bytes(self._taken[:size])
        del self._taken[:size]
        return found


async def attach(socket_path: str, container_id: str) -> Attached:
    """Connect to the streams of a container, best before it is started: nobody keeps what it says.

    By hand, since docker's client has no way to wait for such a connection without a thread. Raises
    ``OSError``.
    """
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        writer.write(
            f"POST /containers/{container_id}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n"
            "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        raise ConnectionError("the Docker daemon has hung up") from error
    status = head.partition(b"\r\n")[0]
    if _SWITCHED not in status:
        writer.close()
        raise ConnectionError(f"the Docker daemon answered {status.decode()!r}")
    return Attached(reader, writer)
