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
from executors.sandbox import orders
from executors.sandbox.interface import Program
from executors.sandbox.orders import Ran
from executors.sandbox.process.jail import cgroup
from executors.sandbox.supervision import wire

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[3]); "
    "from executors.sandbox.process.jail.slot import main; main(int(sys.argv[1]), sys.argv[2])"
)
_SOURCE_ROOT = str(Path(__file__).resolve().parents[3])
_STOPS_WITHIN_S = 5


@dataclass(frozen=True)
class View:
    """What programs see beside ``/usr``: ``folders`` read-only at their own paths, ``masked`` ones empty."""

    folders: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()


class SlotLostError(Exception):
    """The slot did not bring a program to its end and must be started anew.

    The platform's fault, unless ``out_of_memory``: then the program's memory limit took its cell along.
    """

    out_of_memory = False


class SlotHandle:
    """One slot: its process, which may be stopped and started again, and the socket to it."""

    def __init__(self, group: str | None, view: View) -> None:
        self.group = group
        self._configuration = json.dumps(
            {"group": group, "folders": list(view.folders), "masked": list(view.masked)}
        )
        self._process: Process | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._number = 0
        self._kills = 0

    @property
    def alive(self) -> bool:
        """Whether the process runs; false before ``start`` and after ``stop``."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process and wait until it is isolated; raises ``SandboxUnavailable`` if it cannot be."""
        ours, theirs = socket.socketpair()
        try:
            self._process = await self._spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            raise SandboxUnavailable(f"the sandbox's slot process cannot be started: {error}") from error
        finally:
            theirs.close()
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        try:
            header, _ = await self._receive()
        except SlotLostError as error:
            raise SandboxUnavailable(
                "the sandbox's slot process ended at its start; see its error above"
            ) from error
        if "error" in header:
            raise SandboxUnavailable(f"programs cannot be isolated here: {header['error']}")
        self._kills = cgroup.out_of_memory_kills(self.group) if self.group is not None else 0

    async def _spawn(self, descriptor: int) -> Process:
        return await asyncio.create_subprocess_exec(
            f"{sys.base_exec_prefix}/bin/python3",
            *("-I", "-S", "-c", _BOOT, str(descriptor), self._configuration, _SOURCE_ROOT),
            pass_fds=(descriptor,),
            env={},
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )

    async def run(self, program: Program, *, collect: bool) -> Ran:
        """Run one program to its end. Raises ``SlotLostError``."""
        self._number += 1
        self._writer.writelines(wire.encode(*orders.frame(self._number, program, collect=collect)))
        try:
            header, blobs = await self._receive()
        except SlotLostError as error:
            error.out_of_memory = self._is_out_of_memory()
            raise
        if header["number"] != self._number:
            raise SlotLostError(f"it answered for program {header['number']} instead of {self._number}")
        if "error" in header:
            raise SlotLostError(header["error"])
        ran = orders.read(header, blobs)
        self._kills += ran.report.out_of_memory_kills
        return ran

    def cancel(self) -> None:
        """Make the cell end the program that is running; without effect if none is."""
        self._writer.write(wire.CANCEL)

    async def stop(self) -> None:
        """End the process and whatever runs in its cell; when this returns both are gone."""
        if self._process is None:
            return
        if not self._writer.is_closing():
            with contextlib.suppress(OSError):
                self._writer.write_eof()  # a cell ends at this, with its program, and the slot after it
        try:
            async with asyncio.timeout(_STOPS_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        self._process = None

    def _is_out_of_memory(self) -> bool:
        """Whether the kernel has killed more in the group than the reports tell: then the cell as well."""
        return self.group is not None and cgroup.out_of_memory_kills(self.group) > self._kills

    async def _receive(self) -> tuple[dict[str, Any], list[bytes]]:
        try:
            header_size, body_size = wire.PREFIX.unpack(await self._reader.readexactly(wire.PREFIX.size))
            text = await self._reader.readexactly(header_size)
            body = await self._reader.readexactly(body_size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise SlotLostError("its process has ended") from error
        return wire.decode(text, body)
