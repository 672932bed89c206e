"""A cell: PID 1 of one program's namespaces. Furnishes them, runs the program, reports, and is gone.

It cannot be signalled or traced from inside: it is PID 1, not dumpable, and ptrace is filtered.
"""

import os
import signal
import socket

from executors.sandbox.process.jail import root, wire
from executors.sandbox.process.jail import syscalls as sc
from executors.sandbox.process.jail.cgroup import Group
from executors.sandbox.process.jail.meter import GroupMeter, Meter, ProcessMeter, own_memory_bytes
from executors.sandbox.process.jail.order import Order
from executors.sandbox.process.jail.rlimits import OWN_PROCESSES, ResourceLimits
from executors.sandbox.process.jail.seccomp import Filter
from executors.sandbox.process.jail.supervisor import Supervisor

_WHOLE_MIB = ~((1 << 20) - 1)
_WRITE_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_KERNEL_BYTES = 4 << 20
"""What the kernel holds for a cell: namespaces, page tables, and pipes of one MiB each when they are full."""


class Provisions:
    """What a slot has prepared for all of its cells, so that none of them need make it.

    ``group`` is null where the kernel keeps no books for us.
    """

    def __init__(self, service: socket.socket, group: Group | None, instructions: bytes) -> None:
        self.service = service
        self.group = group
        self.filter = Filter(instructions)
        self.resource_limits = ResourceLimits()
        self.cpus = os.cpu_count() or 1
        self.out_of_memory_kills = 0
        self.refused_processes = 0
        signal.signal(signal.SIGCHLD, _do_nothing)

    def renew(self) -> None:
        """Get ready for another program: the next one is received free of the last one's limits."""
        if self.group is not None:
            self.group.lift_limit()
            self.out_of_memory_kills = self.group.out_of_memory_kills()
            self.refused_processes = self.group.refused_processes()


class Cell:
    """One program's cell."""

    def __init__(self, provisions: Provisions, order: Order) -> None:
        self._provisions = provisions
        self._order = order

    def run(self) -> None:
        """Run the program and send the report; an operating system's refusal is reported too."""
        service, number = self._provisions.service, self._order.number
        try:
            report, seen = self._execute()
        except OSError as error:
            wire.send(service, {"number": number, "error": f"the cell failed: {error}"})
        else:
            wire.send(service, report, seen.stdout.kept, seen.stderr.kept)

    def _execute(self) -> tuple[dict[str, object], Supervisor]:
        self._furnish()
        self._lock_down()
        wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        try:
            return self._run_stages(wake)
        finally:
            signal.set_wakeup_fd(-1)  # the slot has this setting too, and not the descriptor

    def _furnish(self) -> None:
        """Make the namespaces a place to run in. The program's own size is not charged to its disk."""
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        order = self._order
        root.scratch(order.stages[-1].disk_bytes + (len(order.code) & _WHOLE_MIB))
        root.process_list()
        os.umask(0o022)
        os.chdir("/box")
        descriptor = os.open(order.source, _WRITE_NEW, 0o644)
        os.write(descriptor, order.code)
        os.close(descriptor)

    def _lock_down(self) -> None:
        """Give up every privilege for good; what the program will run under holds here already."""
        sc.set_capabilities(0)
        self._provisions.filter.install()

    def _run_stages(self, wake: int) -> tuple[dict[str, object], Supervisor]:
        group, order = self._provisions.group, self._order
        for stage in order.stages:
            last = stage is order.stages[-1]
            if group is not None:
                own_bytes = own_memory_bytes() + len(order.code) + 2 * stage.output_bytes + _KERNEL_BYTES
                group.limit(stage.memory_bytes + own_bytes, stage.processes + OWN_PROCESSES)
            self._provisions.resource_limits.apply(stage, counted=group is not None, last=last)
            meter = ProcessMeter() if group is None else GroupMeter(group)
            seen = Supervisor(stage, self._provisions.service, meter, wake, self._provisions.cpus)
            seen.supervise(order.environment, order.stdin if last else b"")
            if seen.failed:
                break
        return self._report(seen, meter, last=last), seen

    def _report(self, seen: Supervisor, meter: Meter, *, last: bool) -> dict[str, object]:
        provisions, group = self._provisions, self._provisions.group
        status, ended, peak_kb = seen.ended
        return {
            "number": self._order.number,
            "compiling": not last,
            "status": status,
            "killed_for": seen.killed_for,
            "duration_s": ended - seen.started,
            "cpu_s": seen.cpu_s,
            "peak_bytes": group.peak_bytes() if group else peak_kb << 10,
            "out_of_memory_kills": group.out_of_memory_kills() - provisions.out_of_memory_kills
            if group
            else 0,
            "refused_processes": meter.refused_processes() - provisions.refused_processes,
            "disk_full": _is_full(root.SCRATCH),
            "stdout_truncated": seen.stdout.overflowed,
            "stderr_truncated": seen.stderr.overflowed,
        }


def _is_full(folder: str) -> bool:
    state = os.statvfs(folder)
    return state.f_bavail == 0 or state.f_favail == 0


def _do_nothing(_signal: int, _frame: object) -> None:
    """Handle SIGCHLD, so that it wakes the poll; a default-ignored signal would not."""
