"""A cell: PID 1 of one program's namespaces. Furnishes them, runs the program, reports, and is gone.

It cannot be signalled or traced from inside: it is PID 1, not dumpable, and ptrace is filtered.
"""

import os
import signal

from executors.sandbox.process.jail import landlock, root
from executors.sandbox.process.jail.group import Group
from executors.sandbox.process.jail.landlock import Landlock
from executors.sandbox.supervision import syscalls as sc
from executors.sandbox.supervision import wire
from executors.sandbox.supervision.account import Account, wake_pipe, watcher_bytes
from executors.sandbox.supervision.files import place
from executors.sandbox.supervision.meter import GroupMeter, Meter, ProcessMeter, own_memory_bytes
from executors.sandbox.supervision.order import Order
from executors.sandbox.supervision.rlimits import OWN_PROCESSES, ResourceLimits
from executors.sandbox.supervision.seccomp import Filter
from executors.sandbox.supervision.supervisor import Supervisor

_WHOLE_MIB = ~((1 << 20) - 1)


class Provisions:
    """What a slot has prepared for all of its cells, so that none of them need make it.

    ``service`` is the descriptor of the socket to it; ``group`` is null where the kernel keeps no
    books for us.
    """

    def __init__(self, service: int, group: Group | None, instructions: bytes) -> None:
        self.service = service
        self.group = group
        self.filter = Filter(instructions)
        self.landlock = Landlock(landlock.SYSTEM, landlock.OWN)
        self.resource_limits = ResourceLimits()
        self.cpus = os.cpu_count() or 1
        signal.signal(signal.SIGCHLD, _do_nothing)

    def renew(self) -> None:
        """Get ready for another program: the next one is received free of the last one's limits."""
        if self.group is not None:
            self.group.lift_limit()


class Cell:
    """One program's cell."""

    def __init__(self, provisions: Provisions, order: Order) -> None:
        self._provisions = provisions
        self._order = order

    def run(self) -> None:
        """Run the program and send the report; an operating system's refusal is reported too."""
        service, number = self._provisions.service, self._order.number
        try:
            header, blobs = self._execute()
        except OSError as error:
            wire.send(service, {"number": number, "error": f"the cell failed: {error}"})
        else:
            wire.send(service, header, *blobs)

    def _execute(self) -> tuple[dict[str, object], list[bytes | bytearray]]:
        self._furnish()
        self._lock_down()
        with wake_pipe() as wake:
            return self._run_program(wake)

    def _furnish(self) -> None:
        """Make the namespaces a place to run in. The program's own files are not charged to its disk."""
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        order = self._order
        root.scratch(order.stage.disk_bytes + (order.file_bytes & _WHOLE_MIB))
        root.process_list()
        os.umask(0o022)
        os.chdir("/box")
        place("/box", order.files)

    def _lock_down(self) -> None:
        """Give up every privilege for good; what the program will run under holds here already."""
        sc.set_capabilities(0)
        self._provisions.landlock.install()
        self._provisions.filter.install()

    def _run_program(self, wake: int) -> tuple[dict[str, object], list[bytes | bytearray]]:
        group, order, stage = self._provisions.group, self._order, self._order.stage
        meter: Meter = ProcessMeter()
        if group is not None:
            own_bytes = own_memory_bytes() + watcher_bytes(order)
            group.limit(stage.memory_bytes + own_bytes, stage.processes + OWN_PROCESSES)
            meter = GroupMeter(group.books, group.alarm)
        self._provisions.resource_limits.apply(stage, counted=group is not None)
        account = Account(meter, group.books if group else None, (root.SCRATCH,))
        seen = Supervisor(stage, self._provisions.service, meter, wake, self._provisions.cpus)
        seen.supervise(order.environment, order.stdin)
        if group is not None and order.collect:
            group.lift_limit()  # what is collected is not the program's any more
        return account.close(order, seen)


def _do_nothing(_signal: int, _frame: object) -> None:
    """Handle SIGCHLD, so that it wakes the poll; a default-ignored signal would not."""
