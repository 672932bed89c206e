"""Control groups of version 1: one hierarchy of folders for each controller."""

import contextlib
import errno
import os
import select
import time

from executors.sandbox.process.jail.group import (
    PARENT,
    Group,
    Hierarchy,
    mounted,
    own_groups,
    write,
    write_path,
)
from executors.sandbox.supervision.books import of_version_1
from executors.sandbox.supervision.meter import Alarm

_CONTROLLERS = ("memory", "pids", "cpuacct")
_NO_LIMIT = -1
_LIMIT_ATTEMPTS, _SETTLE_ATTEMPTS, _RETRY_S = 100, 100, 0.01
_SETTLED_BYTES = 4 << 20


class Version1(Hierarchy):
    """The groups below those this process is in, of each controller."""

    def __init__(self) -> None:
        mounts: dict[str, str] = {}
        for folder, options in mounted("cgroup"):
            mounts.update(dict.fromkeys(options.split(","), folder))
        own = own_groups()
        self._folders = [mounts[c] + own[c] for c in _CONTROLLERS if c in mounts and c in own]

    def ready(self) -> bool:
        """See ``Hierarchy``."""
        return len(self._folders) == len(_CONTROLLERS) and all(
            os.access(each, os.W_OK) for each in self._folders
        )

    def parents(self) -> list[str]:
        """See ``Hierarchy``."""
        return [f"{folder}/{PARENT}" for folder in self._folders]

    def events(self, name: str) -> str:
        """See ``Hierarchy``."""
        return f"{self.parents()[0]}/{name}/memory.oom_control"

    def enter(self, name: str) -> Group:
        """See ``Hierarchy``."""
        folders = [f"{parent}/{name}" for parent in self.parents()]
        for folder in folders:
            os.makedirs(folder, exist_ok=True)
            write_path(f"{folder}/tasks", str(os.getpid()))
        return _Group(*folders)


class _Group(Group):
    def __init__(self, memory: str, pids: str, cpu: str) -> None:
        # Swapping out would be memory beyond the limit; at zero the kernel does not for this group.
        write_path(f"{memory}/memory.swappiness", "0")
        self.books = of_version_1(memory, pids, cpu, resettable=True)
        self._memory_limit = os.open(f"{memory}/memory.limit_in_bytes", os.O_WRONLY | os.O_CLOEXEC)
        self._kernel = os.open(f"{memory}/memory.kmem.usage_in_bytes", os.O_RDONLY | os.O_CLOEXEC)
        self._force_empty = os.open(f"{memory}/memory.force_empty", os.O_WRONLY | os.O_CLOEXEC)
        self._pids_limit = os.open(f"{pids}/pids.max", os.O_WRONLY | os.O_CLOEXEC)
        self.alarm = _EventAlarm(memory)

    def limit(self, memory_bytes: int, processes: int) -> None:
        """See ``Group``."""
        write(self._pids_limit, processes)
        self._limit_memory(memory_bytes)
        self.books.restart_peak()

    def _limit_memory(self, memory_bytes: int) -> None:
        """Set the limit, which the kernel refuses while more is in use: the last program's may still be."""
        for _ in range(_LIMIT_ATTEMPTS):
            try:
                return write(self._memory_limit, memory_bytes)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(_RETRY_S)
        raise OSError(
            errno.EBUSY, f"more than {memory_bytes} bytes of memory stay in use before the program runs"
        )

    def lift_limit(self) -> None:
        """See ``Group``."""
        write(self._memory_limit, _NO_LIMIT)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.alarm.descriptor)
        for _ in range(_SETTLE_ATTEMPTS):
            if int(os.pread(self._kernel, 64, 0)) <= _SETTLED_BYTES:
                break
            with contextlib.suppress(OSError):  # it is asked again
                write(self._force_empty, 0)
            time.sleep(_RETRY_S)


class _EventAlarm(Alarm):
    """An event descriptor that the kernel rings at the limit."""

    def __init__(self, memory: str) -> None:
        super().__init__(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), select.POLLIN)
        with open(f"{memory}/memory.oom_control", "rb") as watched:
            write_path(f"{memory}/cgroup.event_control", f"{self.descriptor} {watched.fileno()}")

    def is_right(self) -> bool:
        """See ``Alarm``; the kernel rings for nothing else."""
        return True
