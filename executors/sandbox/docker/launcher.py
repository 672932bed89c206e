"""What runs in a container: its first process, which waits for one program, runs it, and tells.

Standard library only. As PID 1 it cannot be signalled from inside, collects every orphan, and all that
the program started ends with it. It talks with the executor over its own standard input and output; the
program has pipes of its own instead of them.
"""

import os
import signal

from executors.sandbox.supervision import books, meter, seccomp, wire
from executors.sandbox.supervision import syscalls as sc
from executors.sandbox.supervision.files import Order, place
from executors.sandbox.supervision.identity import enter_user_namespace, renounce
from executors.sandbox.supervision.rlimits import ResourceLimits
from executors.sandbox.supervision.supervisor import Account, Supervisor, wake_pipe

_FROM_EXECUTOR, _TO_EXECUTOR = 0, 1
_LAST_NUMBER = 30
_GROUPS = "/sys/fs/cgroup"
_SCRATCH = ("/box", "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 (the container's own)


def main() -> None:
    """Say what this process itself uses, then serve one order and end with the container."""
    _lock_down()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _do_nothing)
    _count_processes_up_to(_LAST_NUMBER)
    own = _own_books()
    wire.send(_TO_EXECUTOR, {"ready": True, "used_bytes": own.usage_bytes() if own else 0})
    received = wire.receive(_FROM_EXECUTOR)
    if received is None:
        return
    order = Order(*received)
    try:
        header, blobs = _run(order, own)
    except OSError as error:
        wire.send(_TO_EXECUTOR, {"number": order.number, "error": f"the launcher failed: {error}"})
    else:
        wire.send(_TO_EXECUTOR, header, *blobs)


def _count_processes_up_to(last: int) -> None:
    """Use up process numbers, of which a runtime takes some or some more: programs see the same ones then."""
    child = 0
    while child < last:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def _lock_down() -> None:
    """Take on the identity that programs have in every sandbox, and give up what comes with it."""
    try:
        enter_user_namespace()
    except OSError:
        pass  # the system allows none: programs see the container's own user number then
    else:
        renounce()
        sc.set_capabilities(0)
    sc.prctl(sc.PR_SET_DUMPABLE, 0)  # the program runs as the same user and must not look into it
    seccomp.Filter(seccomp.build(accounted=True)).install()


def _run(order: Order, own: books.Books | None) -> tuple[dict[str, object], list[bytes | bytearray]]:
    os.umask(0o022)
    os.chdir("/box")
    place("/box", order.files)
    ResourceLimits().apply(order.stage, counted=own is not None)
    measured = meter.ProcessMeter() if own is None else meter.GroupMeter(own, None)
    account = Account(measured, own, _SCRATCH)
    with wake_pipe() as wake:
        seen = Supervisor(order.stage, _FROM_EXECUTOR, measured, wake, os.cpu_count() or 1)
        seen.supervise(order.environment, order.stdin)
    return account.close(order, seen)


def _own_books() -> books.Books | None:
    """The container's control group; null where the runtime shows none (gVisor's, say)."""
    try:
        if os.path.exists(f"{_GROUPS}/memory.current"):
            return books.of_version_2(_GROUPS)
        return books.of_version_1(*(f"{_GROUPS}/{name}" for name in ("memory", "pids", "cpuacct")))
    except OSError:
        return None


def _do_nothing(_signal: int, _frame: object) -> None:
    """Handle SIGCHLD, so that it wakes the poll; a default-ignored signal would not."""
