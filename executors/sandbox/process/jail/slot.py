"""A slot: prepared once, then one cell after another.

Started by the service as ``python -I -S`` with one end of a socket pair and its configuration.
For each program the slot runs a cell in fresh PID, mount and IPC namespaces, which answers the service
itself; the slot takes the next order when those namespaces are gone. It ends when the service closes
the socket, and when a cell did not end by itself.
"""

import json
import os
import signal
import sys
from typing import Any

from executors.sandbox.process.jail import cgroup, root
from executors.sandbox.process.jail.borrowed import BorrowedMemory
from executors.sandbox.process.jail.cell import Cell, Provisions
from executors.sandbox.process.jail.group import Group
from executors.sandbox.supervision import seccomp, wire
from executors.sandbox.supervision import syscalls as sc
from executors.sandbox.supervision.identity import enter_user_namespace, known_capabilities, renounce
from executors.sandbox.supervision.order import Order

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
