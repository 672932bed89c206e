"""The process sandbox: a pool of slots, each isolated by the kernel's own means."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from asyncio.subprocess import Process
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crucible.errors import SandboxUnavailable
from crucible.models import Limits, Observation
from executors.sandbox import orders, verdict
from executors.sandbox.admission import Turn
from executors.sandbox.interface import PATH, Program, Stage
from executors.sandbox.orders import Ran
from executors.sandbox.process.jail import cgroup, landlock
from executors.sandbox.supervision import wire
from executors.sandbox.supervision.files import File
from executors.sandbox.watched import WatchedSandbox, overdue_s

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


WITH_CGROUPS = "namespaces+cgroups+seccomp"
WITHOUT_CGROUPS = "namespaces+rlimits+seccomp"

_GROUP_EMPTY_WITHIN_S, _GROUP_LOOK_S = 2, 0.01
_PROBE = """
import os, socket, sys
assert os.getpid() < 10 and os.getuid() == 1000, "namespaces"
assert "CapEff:\\t0000000000000000" in open("/proc/self/status").read(), "capabilities"
assert sorted(os.listdir("/box")) == ["probe.py"] and os.listdir("/tmp") == [], "private root"
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
    sys.exit("network")
except OSError:
    pass
for path in ("/usr/probe", "/etc/probe", "/probe"):
    try:
        open(path, "w")
    except OSError:
        continue
    sys.exit("read-only system")
print("isolated")
"""


class ProcessSandbox(WatchedSandbox):
    """Programs in namespaces of their own, with control groups where this process may make them.

    ``python`` is the interpreter that the probe at ``open`` uses; ``view`` makes it visible where it
    lives outside ``/usr``. ``cgroups`` says whether control groups are a must, or not to be used; null:
    they are used where they can be had.
    """

    def __init__(self, slots: int, python: str, view: View, *, cgroups: bool | None = None) -> None:
        super().__init__(slots)
        self._size = slots
        self._python = python
        self._view = view
        self._cgroups = cgroups
        self._slots: list[SlotHandle] = []
        self._idle: deque[SlotHandle] = deque()
        self._closing = False
        self.isolation_level = WITHOUT_CGROUPS

    async def open(self) -> None:
        """See ``Sandbox.open``; the canary runs in every slot."""
        if self._cgroups is not False and cgroup.available():
            self.isolation_level = WITH_CGROUPS
            cgroup.remove_orphans()
        elif self._cgroups:
            raise SandboxUnavailable(
                "control groups are required (CRUCIBLE_EXECUTOR_REQUIRE_CGROUPS) and cannot be made here; "
                "run as root where memory and pids controllers (of version 1 also cpuacct) are handed on, "
                "or unset it"
            )
        self._log.info("second_wall", landlock=landlock.abi())  # 0 for none
        for index in range(self._size):
            group = f"{os.getpid()}-{id(self):x}-{index}" if self.isolation_level == WITH_CGROUPS else None
            slot = SlotHandle(group, self._view)
            self._slots.append(slot)
            await slot.start()
            self._idle.append(slot)
        stage = Stage((self._python, "/box/probe.py"), Limits())
        probe = Program("python", (File("probe.py", _PROBE.encode()),), b"", {}, stage)
        for _ in self._slots:
            await self._probe(probe)

    def locate(self, family: str, command: str) -> str | None:  # noqa: ARG002 (one system for all)
        """See ``Sandbox.locate``; programs see this machine's own toolchains."""
        return self._python if command == "python3" else shutil.which(command, path=PATH)

    async def close(self) -> None:
        """See ``Sandbox.close``."""
        self._closing = True
        await asyncio.gather(*(slot.stop() for slot in self._slots))
        for slot in self._slots:
            if slot.group is not None:
                await _removed(slot.group)
        self._slots.clear()

    async def _carried_out(self, turn: Turn, program: Program, *, collect: bool) -> Ran | Observation:
        slot = self._idle.popleft()
        try:
            return await self._run_on(slot, turn, program, collect=collect)
        finally:
            self._idle.append(slot)

    async def _run_on(
        self, slot: SlotHandle, turn: Turn, program: Program, *, collect: bool
    ) -> Ran | Observation:
        try:
            if not slot.alive and not self._closing:
                await slot.stop()
                await slot.start()
            if self._closing:
                return self._sandbox_error("the sandbox is being closed")
            if turn.cancelled:
                return self._cancelled()
            turn.end = slot.cancel  # until the order is sent nothing is awaited: no cancellation is missed
            async with asyncio.timeout(overdue_s(program)):
                return await slot.run(program, collect=collect)
        except asyncio.CancelledError:
            await slot.stop()  # its program must not outlive the one who asked for it
            raise
        except (SlotLostError, SandboxUnavailable, TimeoutError) as error:
            await slot.stop()
            if isinstance(error, SlotLostError) and error.out_of_memory:
                return verdict.out_of_memory(self.isolation_level)
            return self._sandbox_error(f"the slot was lost: {error or 'its program is overdue'}")
        finally:
            turn.end = None


async def _removed(group: str) -> None:
    """Remove a control group, waiting for the processes of a slot that was ended by force to be gone."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GROUP_EMPTY_WITHIN_S):
            while not cgroup.remove(group):  # noqa: ASYNC110 (the kernel gives no event of it)
                await asyncio.sleep(_GROUP_LOOK_S)
