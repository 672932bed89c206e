"""The process sandbox: a pool of slots, each isolated by the kernel's own means."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import structlog

from crucible.errors import SandboxUnavailable
from crucible.models import Limits, Observation, Outcome
from executors.sandbox.interface import Program, Sandbox, Stage
from executors.sandbox.process import verdict
from executors.sandbox.process.jail import cgroup
from executors.sandbox.process.slot_handle import SlotHandle, SlotLost, View

WITH_CGROUPS = "namespaces+cgroups+seccomp"
WITHOUT_CGROUPS = "namespaces+rlimits+seccomp"

_OVERDUE_FACTOR = 6  # the cell allows up to five times the wall limit on a machine short of CPU
_OVERDUE_S = 30
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


class ProcessSandbox(Sandbox):
    """Programs in namespaces of their own, with control groups where this process may make them.

    ``python`` is the interpreter that the probe at ``open`` uses; ``view`` makes it visible where it
    lives outside ``/usr``.
    """

    def __init__(
        self, slots: int, python: str, view: View = View(), *, require_cgroups: bool = False
    ) -> None:
        self._size = slots
        self._python = python
        self._view = view
        self._require_cgroups = require_cgroups
        self._idle: asyncio.Queue[SlotHandle] = asyncio.Queue()
        self._slots: set[SlotHandle] = set()
        self._running: dict[str, SlotHandle] = {}
        self._cancelled: set[str] = set()
        self._log = structlog.get_logger()
        self.isolation_level = WITHOUT_CGROUPS

    async def open(self) -> None:
        """See ``Sandbox.open``; the canary runs in every slot."""
        if cgroup.available():
            self.isolation_level = WITH_CGROUPS
            cgroup.remove_orphans()
        elif self._require_cgroups:
            raise SandboxUnavailable(
                "control groups are required (CRUCIBLE_EXECUTOR_REQUIRE_CGROUPS) and cannot be made here; "
                "run as root with the version 1 memory, pids and cpuacct controllers, or unset it"
            )
        for index in range(self._size):
            self._idle.put_nowait(await self._start_slot(index))
        for _ in range(self._size):
            await self._probe()

    async def run(self, program: Program, run_id: str) -> Observation:
        """See ``Sandbox.run``."""
        async with self._slot(run_id) as slot:
            if run_id in self._cancelled:
                return Observation(outcome=Outcome.CANCELLED, isolation_level=self.isolation_level)
            overdue = _OVERDUE_FACTOR * sum(
                stage.limits.wall_s for stage in (program.compile, program.run) if stage
            )
            try:
                async with asyncio.timeout(overdue + _OVERDUE_S):
                    report, counted, (stdout, stderr) = await slot.run(
                        _order(program), program.code, program.stdin
                    )
            except (SlotLost, TimeoutError) as error:
                await slot.stop()
                return self._sandbox_error(f"the slot was lost ({type(error).__name__}); it is replaced")
        if report.get("error"):
            return self._sandbox_error(report["error"])
        if not report and counted["out_of_memory_kills"]:
            return verdict.out_of_memory(self.isolation_level)
        if not report:
            return self._sandbox_error(f"the cell ended with wait status {counted['cell_status']}")
        return verdict.observe(report, counted, stdout, stderr, self.isolation_level)

    async def cancel(self, run_id: str) -> bool:
        """See ``Sandbox.cancel``."""
        slot = self._running.get(run_id)
        if slot is None:
            return False
        self._cancelled.add(run_id)
        slot.cancel()
        return True

    async def close(self) -> None:
        """See ``Sandbox.close``."""
        for slot in self._slots:
            await slot.stop()
            if slot.group:
                cgroup.remove(slot.group)
        self._slots.clear()

    @contextlib.asynccontextmanager
    async def _slot(self, run_id: str) -> AsyncIterator[SlotHandle]:
        slot = await self._idle.get()
        self._running[run_id] = slot
        try:
            yield slot
        except asyncio.CancelledError:
            await slot.stop()  # its program must not outlive the one who asked for it
            raise
        finally:
            del self._running[run_id]
            spoilt = run_id in self._cancelled or not slot.alive
            self._cancelled.discard(run_id)
            if spoilt:
                slot = await self._replace(slot)
            self._idle.put_nowait(slot)

    async def _replace(self, slot: SlotHandle) -> SlotHandle:
        """A cancelled slot may hold a stale request to cancel, a lost one nothing at all."""
        await slot.stop()
        self._slots.discard(slot)
        fresh = SlotHandle(slot.group, self._view)
        self._slots.add(fresh)
        await fresh.start()
        return fresh

    async def _start_slot(self, index: int) -> SlotHandle:
        group = f"{os.getpid()}-{id(self):x}-{index}" if self.isolation_level == WITH_CGROUPS else None
        slot = SlotHandle(group, self._view)
        self._slots.add(slot)
        await slot.start()
        return slot

    async def _probe(self) -> None:
        stage = Stage((self._python, "/box/probe.py"), Limits())
        seen = await self.run(Program("probe.py", _PROBE.encode(), b"", {}, stage), "probe")
        if seen.stdout != b"isolated\n":
            said = (seen.stderr.decode(errors="replace").strip().splitlines() or [seen.detail or ""])[-1]
            raise SandboxUnavailable(
                f"the sandbox does not isolate: its probe ended as {seen.outcome} ({said})"
            )

    def _sandbox_error(self, detail: str) -> Observation:
        self._log.error("sandbox_error", detail=detail)
        return Observation(outcome=Outcome.SANDBOX_ERROR, isolation_level=self.isolation_level, detail=detail)


def _order(program: Program) -> dict[str, Any]:
    return {
        "source": program.source,
        "environment": dict(program.environment),
        "disk_mb": program.run.limits.disk_mb,
        "compile": _stage(program.compile),
        "run": _stage(program.run),
    }


def _stage(stage: Stage | None) -> dict[str, Any] | None:
    return None if stage is None else {"argv": stage.argv, **stage.limits.model_dump()}
