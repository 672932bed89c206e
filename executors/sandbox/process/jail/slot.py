"""A slot: prepared once, then one cell after another.

Started by the service as ``python -I -S`` with one end of a socket pair and its configuration.
For each program the slot runs a cell in fresh PID, mount and IPC namespaces, which answers the service
itself; the slot takes the next order when those namespaces are gone. It ends when the service closes
the socket, and when a cell did not end by itself.

A cell is PID 1 of one program's namespaces: it furnishes them, runs the program, reports, and is gone. It
cannot be signalled or traced from inside: it is PID 1, not dumpable, and ptrace is filtered.
"""

import json
import os
import signal
import sys
from typing import Any

from executors.sandbox.process.jail import cgroup, landlock, root
from executors.sandbox.process.jail.borrowed import BorrowedMemory
from executors.sandbox.process.jail.group import Group
from executors.sandbox.process.jail.landlock import Landlock
from executors.sandbox.supervision import seccomp, wire
from executors.sandbox.supervision import syscalls as sc
from executors.sandbox.supervision.files import Order, place
from executors.sandbox.supervision.identity import enter_user_namespace, known_capabilities, renounce
from executors.sandbox.supervision.meter import GroupMeter, Meter, ProcessMeter, own_memory_bytes
from executors.sandbox.supervision.rlimits import OWN_PROCESSES, ResourceLimits
from executors.sandbox.supervision.seccomp import Filter
from executors.sandbox.supervision.supervisor import Account, Supervisor, wake_pipe, watcher_bytes

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


_HOST_ID_BASE = 1_000_000_000  # above every range that user-management tools hand out
_OWN_SURROUNDINGS = sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWUTS | sc.CLONE_NEWCGROUP
_CELL_FAILED = 1


def main(descriptor: int, configuration: str) -> None:
    """Serve programs over the socket ``descriptor`` until the service closes it."""
    config = json.loads(configuration)
    os.set_inheritable(descriptor, False)
    _close_all_but(descriptor)
    try:
        group = _isolate(config)
        provisions = Provisions(descriptor, group, seccomp.build(accounted=group is not None))
    except (OSError, KeyError) as error:
        wire.send(descriptor, {"error": str(error)})
        return
    wire.send(descriptor, {"ready": True})
    _serve(provisions)


def _close_all_but(descriptor: int) -> None:
    """Close what was inherited by accident: a program would inherit it in turn."""
    first_free = 3
    os.closerange(first_free, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _serve(provisions: Provisions) -> None:
    child = BorrowedMemory(sc.CLONE_NEWPID | sc.CLONE_NEWNS | sc.CLONE_NEWIPC)
    while (order := _next_order(provisions)) is not None:
        if child.run(Cell(provisions, order).run) != 0:
            os._exit(_CELL_FAILED)


def _next_order(provisions: Provisions) -> Order | None:
    provisions.renew()
    received = wire.receive(provisions.service)
    if received is None:
        return None
    return Order(*received)


def _isolate(config: dict[str, Any]) -> Group | None:
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    _reset_signals()
    group = cgroup.enter(config["group"]) if config["group"] else None
    if os.geteuid() == 0:
        # The root is built while this process may still look into every folder (a home folder, say).
        _build(config, _OWN_SURROUNDINGS)
        _become_nobody()
        enter_user_namespace(sc.CLONE_NEWNS | sc.CLONE_NEWIPC)
    else:
        enter_user_namespace()
        _build(config, _OWN_SURROUNDINGS | sc.CLONE_NEWIPC)
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)  # changing identity has cleared it
    renounce()
    return group


def _reset_signals() -> None:
    """Forget what the service's own parent ignored or blocked (a shell's ``&`` does): programs inherit it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's Ctrl-C is the service's to handle


def _build(config: dict[str, Any], namespaces: int) -> None:
    sc.unshare(namespaces)
    sc.sethostname("crucible")
    root.private_network()
    root.enter(config["folders"], config["masked"])


def _become_nobody() -> None:
    """Give up root for a host identity that nobody else has, keeping what namespaces need to be made."""
    unique = _HOST_ID_BASE + os.getpid()
    sc.prctl(sc.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(unique, unique, unique)
    os.setresuid(unique, unique, unique)
    sc.set_capabilities(known_capabilities())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
