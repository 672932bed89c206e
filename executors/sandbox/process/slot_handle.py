"""The service's end of one slot process."""

import asyncio
import contextlib
import json
import socket
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crucible.errors import SandboxUnavailable
from executors.sandbox.process.jail import wire

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[3]); "
    "from executors.sandbox.process.jail.slot import main; main(int(sys.argv[1]), sys.argv[2])"
)
_SOURCE_ROOT = str(Path(__file__).resolve().parents[3])


@dataclass(frozen=True)
class View:
    """What programs see beside ``/usr``: ``folders`` read-only at their own paths, ``masked`` ones empty."""

    folders: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()


class SlotLost(Exception):
    """The slot process has ended although nobody asked it to; it must be replaced."""


class SlotHandle:
    """One slot process: starts it, hands it programs, ends it."""

    def __init__(self, group: str | None, view: View) -> None:
        self.group = group
        self._configuration = json.dumps(
            {"group": group, "folders": list(view.folders), "masked": list(view.masked)}
        )
        self._process: Process
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._number = 0

    @property
    def alive(self) -> bool:
        """Whether the process is running and has not been asked to end."""
        return self._process.returncode is None and not self._writer.is_closing()

    async def start(self) -> None:
        """Start the process and wait until it is isolated; raises ``SandboxUnavailable`` if it cannot be."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                f"{sys.base_exec_prefix}/bin/python3",
                *("-I", "-S", "-c", _BOOT, str(theirs.fileno()), self._configuration, _SOURCE_ROOT),
                pass_fds=(theirs.fileno(),),
                env={},
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        try:
            header, _ = await self._receive()
        except SlotLost as error:
            raise SandboxUnavailable(
                "the sandbox's slot process ended at its start; see its error above"
            ) from error
        if "error" in header:
            raise SandboxUnavailable(f"programs cannot be isolated here: {header['error']}")

    async def run(
        self, order: dict[str, Any], code: bytes, stdin: bytes
    ) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
        """Run one program; returns the cell's report (empty if the cell was ended by force), the slot's
        counts and the two streams. Raises ``SlotLost``.
        """
        self._number += 1
        self._writer.write(wire.encode({"number": self._number, **order}, code, stdin))
        header, streams = await self._receive()
        if header.get("idle"):
            return {}, header, [b"", b""]
        counted, _ = await self._receive()
        return header, counted, streams

    def cancel(self) -> None:
        """Make the cell end the program that is running."""
        self._writer.write(b"\0")

    async def stop(self) -> None:
        """End the process and whatever runs in its cell."""
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _receive(self) -> tuple[dict[str, Any], list[bytes]]:
        try:
            header_size, body_size = wire.PREFIX.unpack(await self._reader.readexactly(wire.PREFIX.size))
            text = await self._reader.readexactly(header_size)
            body = await self._reader.readexactly(body_size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise SlotLost from error
        return wire.decode(text, body)
