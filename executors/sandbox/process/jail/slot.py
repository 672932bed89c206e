"""A slot: prepared once, then one cell after another.

Started by the service as ``python -I -S`` with one end of a socket pair and its configuration.
For each program the slot forks a cell in a fresh PID namespace, waits until that namespace is empty,
and then tells the service that it is idle, with what the control group has counted.
"""

import gc
import json
import os
import signal
import socket
import sys

from executors.sandbox.process.jail import root, seccomp, wire
from executors.sandbox.process.jail import syscalls as sc
from executors.sandbox.process.jail.cell import END_OF_SERVICE, Cell
from executors.sandbox.process.jail.cgroup import Group

_INSIDE_ID = 1000
_HOST_ID_BASE = 1_000_000_000  # above every range that user-management tools hand out
_LAST_CAPABILITY = 40
_ALL_CAPABILITIES = (1 << (_LAST_CAPABILITY + 1)) - 1


def main(descriptor: int, configuration: str) -> None:
    """Serve programs over the socket ``descriptor`` until the service closes it."""
    config = json.loads(configuration)
    service = socket.socket(fileno=descriptor)
    service.set_inheritable(False)
    _close_all_but(descriptor)
    try:
        group = _isolate(config)
        instructions = seccomp.build()
    except (OSError, KeyError) as error:
        service.sendall(wire.encode({"error": str(error)}))
        return
    service.sendall(wire.encode({"ready": True}))
    _serve(service, config, group, instructions)


def _close_all_but(descriptor: int) -> None:
    """Close what was inherited by accident: a program would inherit it in turn."""
    first_free = 3
    os.closerange(first_free, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _serve(service: socket.socket, config: dict, group: Group | None, instructions: bytes) -> None:
    gc.freeze()
    while True:
        before = (group.out_of_memory_kills(), group.refused_processes()) if group else (0, 0)
        child = sc.fork_into(sc.CLONE_NEWPID | sc.CLONE_NEWNS | sc.CLONE_NEWIPC)
        if child == 0:
            Cell(service, config, group, instructions).run()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == END_OF_SERVICE:
            return
        service.sendall(wire.encode({"idle": True, "cell_status": status, **_counted(group, before)}))


def _counted(group: Group | None, before: tuple[int, int]) -> dict[str, object]:
    if group is None:
        return {"out_of_memory_kills": 0, "refused_processes": 0, "peak_bytes": None}
    return {
        "out_of_memory_kills": group.out_of_memory_kills() - before[0],
        "refused_processes": group.refused_processes() - before[1],
        "peak_bytes": group.peak_bytes(),
    }


def _isolate(config: dict) -> Group | None:
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's Ctrl-C is the service's to handle
    group = Group(config["group"]) if config["group"] else None
    if os.geteuid() == 0:
        # The root is built while this process may still look into every folder (a home folder, say).
        _build(config, sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWUTS)
        _become_nobody()
        _own_namespaces(sc.CLONE_NEWUSER | sc.CLONE_NEWNS | sc.CLONE_NEWIPC)
    else:
        _own_namespaces(sc.CLONE_NEWUSER)
        _build(config, sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWUTS | sc.CLONE_NEWIPC)
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)  # changing identity has cleared it
    _renounce()
    return group


def _renounce() -> None:
    """Make sure that nothing started from here ever gains a privilege; cells then drop what is left."""
    for number in range(_LAST_CAPABILITY + 1):
        try:
            sc.prctl(sc.PR_CAPBSET_DROP, number)
        except OSError:
            break  # an older kernel knows fewer
    sc.prctl(sc.PR_CAP_AMBIENT, sc.PR_CAP_AMBIENT_CLEAR_ALL)
    sc.prctl(sc.PR_SET_SECUREBITS, sc.SECUREBITS_LOCKED)
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)


def _build(config: dict, namespaces: int) -> None:
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
    sc.set_capabilities(_known_capabilities())
    sc.prctl(sc.PR_SET_DUMPABLE, 1)  # or /proc/self/uid_map belongs to root


def _own_namespaces(namespaces: int) -> None:
    """Enter a user namespace in which every slot's program has the same identity."""
    uid, gid = os.getuid(), os.getgid()
    sc.unshare(namespaces)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_INSIDE_ID} {uid} 1"),
        ("gid_map", f"{_INSIDE_ID} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def _known_capabilities() -> int:
    """The permitted capabilities: a container's root may have fewer than all."""
    with open("/proc/self/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16) & _ALL_CAPABILITIES
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
