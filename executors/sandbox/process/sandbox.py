"""The process sandbox: a pool of slots, each isolated by the kernel's own means."""

import asyncio
import contextlib
import os
import shutil
from collections import deque

from crucible.errors import SandboxUnavailable
from crucible.models import Limits, Observation
from executors.sandbox import verdict
from executors.sandbox.admission import Turn
from executors.sandbox.interface import PATH, Program, Stage
from executors.sandbox.orders import Ran
from executors.sandbox.process.jail import cgroup, landlock
from executors.sandbox.process.slot_handle import SlotHandle, SlotLostError, View
from executors.sandbox.supervision.files import File
from executors.sandbox.watched import WatchedSandbox, overdue_s

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
