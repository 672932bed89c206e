"""A cell: PID 1 of one program's namespace. Waits for the program, runs it, reports, and is gone.

It is forked and furnished before the program is known, so that a request finds it ready. It cannot
be signalled or traced from inside: it is PID 1, not dumpable, and ptrace is filtered.
"""

import os
import resource
import signal
import socket

from executors.sandbox.process.jail import root, seccomp, wire
from executors.sandbox.process.jail import syscalls as sc
from executors.sandbox.process.jail.cgroup import Group
from executors.sandbox.process.jail.supervisor import Supervisor

END_OF_SERVICE = 3
"""Exit code of a cell whose service has closed the socket."""

_DEFAULT_DISK_MB = 64
_OPEN_FILES = 256
_STACK_BYTES = 8 << 20
_LOCKED_BYTES = 64 << 10


class Cell:
    """One program's cell. ``group`` is null where the kernel keeps no books for us."""

    def __init__(
        self, service: socket.socket, config: dict, group: Group | None, instructions: bytes
    ) -> None:
        self._service = service
        self._config = config
        self._group = group
        self._instructions = instructions

    def run(self) -> None:
        """Furnish the namespace, wait for a program, run it and send the report."""
        sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
        root.scratch(_DEFAULT_DISK_MB)
        root.process_list()
        order = wire.receive(self._service)
        if order is None:
            os._exit(END_OF_SERVICE)
        header, (code, stdin) = order
        try:
            report, stdout, stderr = self._execute(header, code, stdin)
        except OSError as error:
            report, stdout, stderr = {"error": f"the cell failed: {error}"}, b"", b""
        self._service.sendall(wire.encode({"number": header["number"], **report}, stdout, stderr))

    def _execute(self, order: dict, code: bytes, stdin: bytes) -> tuple[dict, bytes, bytes]:
        if order["disk_mb"] != _DEFAULT_DISK_MB:
            root.resize_scratch(order["disk_mb"])
        os.chdir("/box")
        with open(order["source"], "wb") as file:
            file.write(code)
        self._lock_down()
        stages = [stage for stage in (order["compile"], order["run"]) if stage]
        for stage in stages:
            last = stage is stages[-1]
            self._limit(stage, last=last)
            supervisor = Supervisor(self._service, self._group, order["number"])
            report = supervisor.supervise(stage, order["environment"], stdin if last else b"")
            if last or report["status"] != 0:
                break
        report["stage"] = "run" if last else "compile"
        report["disk_full"] = _is_full(root.SCRATCH)
        return report, supervisor.stdout, supervisor.stderr

    def _lock_down(self) -> None:
        """Give up every privilege for good; what the program will run under holds here already."""
        sc.set_capabilities(0)
        sc.prctl(sc.PR_SET_DUMPABLE, 0)
        seccomp.install(self._instructions)
        os.umask(0o022)

    def _limit(self, stage: dict, *, last: bool) -> None:
        """Limits of one stage; hard ones only for the last, since they could not be raised again."""
        memory_bytes = stage["memory_mb"] << 20
        if self._group is not None:
            self._group.limit(memory_bytes, stage["processes"])
            self._group.reset_peak()
        # One second more than the limit, so that our own exact measure comes first.
        cpu_s = int(stage["cpu_s"]) + 2
        _set_limit(resource.RLIMIT_CPU, cpu_s, last=last)
        _set_limit(resource.RLIMIT_FSIZE, stage["disk_mb"] << 20, last=last)
        _set_limit(resource.RLIMIT_NPROC, stage["processes"] + 2, last=last)
        _set_limit(resource.RLIMIT_NOFILE, _OPEN_FILES, last=last)
        _set_limit(resource.RLIMIT_STACK, _STACK_BYTES, last=last)
        _set_limit(resource.RLIMIT_MEMLOCK, _LOCKED_BYTES, last=last)
        _set_limit(resource.RLIMIT_MSGQUEUE, 0, last=last)
        _set_limit(resource.RLIMIT_CORE, 0, last=last)


def _set_limit(kind: int, value: int, *, last: bool) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value if last else hard))


def _is_full(folder: str) -> bool:
    state = os.statvfs(folder)
    return state.f_bavail == 0 or state.f_favail == 0
