"""A door on loopback in the line to one server: what passes can be held up, cut off, spoiled and counted."""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import NamedTuple

_BEGINS_REQUEST = re.compile(rb"^(GET|POST|DELETE|PATCH|PUT) ")
_RUN_ID = re.compile(rb'"id": ?"(ev-[0-9a-zA-Z]+\.\d+)"')
_CHUNK = 65536


def _response(status: bytes, body: bytes) -> bytes:
    length = str(len(body)).encode()
    head = (
        b"HTTP/1.1 " + status,
        b"content-type: application/json",
        b"content-length: " + length,
        b"connection: close",
    )
    return b"\r\n".join((*head, b"", body))


class Mood(StrEnum):
    """What becomes of what would pass."""

    OPEN = "open"
    CUT = "cut"
    """Connections are reset, new ones as well: the server is not there."""
    SILENT = "silent"
    """Nothing passes either way, and nobody is told."""
    SLOW = "slow"
    ERRORS = "errors"
    GARBAGE = "garbage"
    HALF = "half"


_INSTEAD = {
    Mood.ERRORS: _response(b"500 Internal Server Error", b'{"detail": "planted"}'),
    Mood.GARBAGE: _response(b"200 OK", b'{"outcome": \x00\xff nonsense }'),
}


class _End(NamedTuple):
    reader: StreamReader
    writer: StreamWriter


class Door:
    """In front of the server at ``port``; ``url`` is where to knock.

    ``runs`` counts by run id and by life of the server, which ends when it cannot be reached.
    """

    def __init__(self, port: int, slow_s: float = 4.0) -> None:
        self.url = ""
        self.runs: Counter[tuple[str, int]] = Counter()
        self._port, self._slow_s = port, slow_s
        self._life, self._is_alive = 0, False
        self._mood = Mood.OPEN
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[StreamWriter] = set()

    @property
    def mood(self) -> Mood:
        """What becomes of what would pass, from now on."""
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        if mood is Mood.SILENT:
            self._passing.clear()
        else:
            self._passing.set()
        if mood is Mood.CUT:
            for writer in self._writers:
                writer.transport.abort()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve on a free port of this machine, until the end."""
        server = await asyncio.start_server(self._enter, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()
            self.mood = Mood.CUT
            await asyncio.sleep(0)

    async def _enter(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._passing.wait()
        client, server = _End(reader, writer), await self._reach()
        if server is None:
            writer.transport.abort()
            return
        ways = {asyncio.create_task(each(client, server)) for each in (self._there, self._back)}
        self._writers |= {client.writer, server.writer}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= {client.writer, server.writer}
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (client, server):
                end.writer.close()

    async def _reach(self) -> _End | None:
        if self._mood is Mood.CUT:
            return None
        try:
            server = _End(*await asyncio.open_connection("127.0.0.1", self._port))
        except OSError:
            self._is_alive = False
            return None
        if not self._is_alive:
            self._life, self._is_alive = self._life + 1, True
        return server

    async def _there(self, client: _End, server: _End) -> None:
        """Requests, until one is answered here."""
        with suppress(OSError):
            while chunk := await client.reader.read(_CHUNK):
                await self._passing.wait()
                if self._mood in _INSTEAD and _BEGINS_REQUEST.match(chunk):
                    client.writer.write(_INSTEAD[self._mood])
                    return
                self.runs.update((run_id.decode(), self._life) for run_id in _RUN_ID.findall(chunk))
                server.writer.write(chunk)
                await server.writer.drain()

    async def _back(self, client: _End, server: _End) -> None:
        """Answers, until one is broken off."""
        with suppress(OSError):
            while chunk := await server.reader.read(_CHUNK):
                await self._passing.wait()
                if self._mood is Mood.SLOW:
                    await asyncio.sleep(self._slow_s)
                if self._mood is Mood.HALF:
                    client.writer.write(chunk[: len(chunk) // 2])
                    return
                client.writer.write(chunk)
                await client.writer.drain()
