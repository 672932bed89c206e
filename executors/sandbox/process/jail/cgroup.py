"""The control group of a slot (version 1): memory, process count and CPU time by the kernel's books.

The slot enters once, as root, before it gives its privileges up; the files it needs later stay open.
"""

import contextlib
import errno
import os
import time

from executors.sandbox.supervision.books import of_version_1

_CONTROLLERS = ("memory", "pids", "cpuacct")
_PARENT = "crucible"
_NO_LIMIT = -1
_LIMIT_ATTEMPTS, _SETTLE_ATTEMPTS, _RETRY_S = 100, 100, 0.01
_SETTLED_BYTES = 4 << 20


def mounted_controllers() -> dict[str, str]:
    """Folder of this process's own group, for each controller Crucible uses that is mounted and writable."""
    mounts = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind == "cgroup":
                mounts.update(dict.fromkeys(options.strip().split(","), left.split(" ")[4]))
    own = {}
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), path))
    folders = {c: mounts[c] + own[c].rstrip("/") for c in _CONTROLLERS if c in mounts and c in own}
    return {c: folder for c, folder in folders.items() if os.access(folder, os.W_OK)}


def available() -> bool:
    """Whether slots may be given control groups here: root, and all controllers mounted writable."""
    return os.geteuid() == 0 and set(mounted_controllers()) == set(_CONTROLLERS)


def folders(name: str) -> list[str]:
    """The folders of the slot called ``name``, one for each controller."""
    return [f"{folder}/{_PARENT}/{name}" for folder in mounted_controllers().values()]


def remove(name: str) -> bool:
    """Remove the group of a slot that has ended; false while something in it still is."""
    for folder in folders(name):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def remove_orphans() -> None:
    """Remove the groups of executors that are no more (a slot's name begins with its executor's pid)."""
    for folder in mounted_controllers().values():
        try:
            names = [entry.name for entry in os.scandir(f"{folder}/{_PARENT}") if entry.is_dir()]
        except FileNotFoundError:
            continue
        for name in names:
            if not os.path.exists(f"/proc/{name.partition('-')[0]}"):
                remove(name)


def out_of_memory_kills(name: str) -> int:
    """How many processes the kernel has killed for want of memory in the group called ``name``."""
    with open(f"{folders(name)[0]}/memory.oom_control", "rb") as file:
        return _field(file.read(), b"oom_kill ")


class Group:
    """The group this process is in, seen through files opened while it could open them.

    ``alarm`` is an event descriptor, readable once a program has met with its memory limit.
    """

    def __init__(self, name: str) -> None:
        """Make the group called ``name``, move this process into it and keep its files open."""
        memory, pids, cpu = folders(name)
        for folder in (memory, pids, cpu):
            os.makedirs(folder, exist_ok=True)
            _write_path(f"{folder}/tasks", str(os.getpid()))
        # Swapping out would be memory beyond the limit; at zero the kernel does not for this group.
        _write_path(f"{memory}/memory.swappiness", "0")
        self.books = of_version_1(memory, pids, cpu)
        self._memory_limit = os.open(f"{memory}/memory.limit_in_bytes", os.O_WRONLY)
        self._kernel = os.open(f"{memory}/memory.kmem.usage_in_bytes", os.O_RDONLY)
        self._force_empty = os.open(f"{memory}/memory.force_empty", os.O_WRONLY)
        self._peak = os.open(f"{memory}/memory.max_usage_in_bytes", os.O_WRONLY)
        self._pids_limit = os.open(f"{pids}/pids.max", os.O_WRONLY)
        self.alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        with open(f"{memory}/memory.oom_control", "rb") as watched:
            _write_path(f"{memory}/cgroup.event_control", f"{self.alarm} {watched.fileno()}")

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Allow this group so much in all from now on, and measure its peak anew."""
        _write(self._pids_limit, processes)
        self._limit_memory(memory_bytes)
        _write(self._peak, 0)

    def _limit_memory(self, memory_bytes: int) -> None:
        """Set the limit, which the kernel refuses while more is in use: the last program's may still be."""
        for _ in range(_LIMIT_ATTEMPTS):
            try:
                return _write(self._memory_limit, memory_bytes)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(_RETRY_S)
        raise OSError(
            errno.EBUSY, f"more than {memory_bytes} bytes of memory stay in use before the program runs"
        )

    def lift_limit(self) -> None:
        """Let memory be free again until the next program begins, and forget what the last one left.

        After many processes or file names the kernel takes its time to give back what it held for them,
        which the next program would lack.
        """
        _write(self._memory_limit, _NO_LIMIT)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.alarm)
        for _ in range(_SETTLE_ATTEMPTS):
            if _number(self._kernel) <= _SETTLED_BYTES:
                break
            with contextlib.suppress(OSError):  # it is asked again
                _write(self._force_empty, 0)
            time.sleep(_RETRY_S)


def _write_path(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _write(descriptor: int, number: int) -> None:
    os.pwrite(descriptor, b"%d" % number, 0)


def _number(descriptor: int) -> int:
    return int(os.pread(descriptor, 64, 0))


def _field(text: bytes, name: bytes) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line[len(name) :])
    return 0
