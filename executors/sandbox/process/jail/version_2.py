"""Control groups of version 2: one hierarchy, in which a group that hands controllers on may run nothing."""

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
from executors.sandbox.supervision.books import field, of_version_2
from executors.sandbox.supervision.meter import Alarm

_CONTROLLERS = frozenset({"memory", "pids"})
_LEAF = "-self"
_UNLIMITED = "max"
_ATTEMPTS, _RETRY_S = 100, 0.01
_SETTLED_BYTES = 4 << 20
_EVENTS_SIZE, _STAT_SIZE = 512, 8192


class Version2(Hierarchy):
    """Groups below the one this process is in, or else, where others are in that too, at the top."""

    def __init__(self) -> None:
        self._bases = []
        for top, _ in mounted("cgroup2"):
            self._bases = [_without_leaf(top + own_groups()[""]), top]

    def ready(self) -> bool:
        """See ``Hierarchy``; may move this process into a leaf of its own, out of the way."""
        return any(map(_made_ready, self._bases))

    def parents(self) -> list[str]:
        """See ``Hierarchy``."""
        parents = [f"{base}/{PARENT}" for base in self._bases]
        return [parent for parent in parents if _listed(parent, "cgroup.subtree_control") >= _CONTROLLERS][:1]

    def events(self, name: str) -> str:
        """See ``Hierarchy``."""
        return f"{self.parents()[0]}/{name}/memory.events"

    def enter(self, name: str) -> Group:
        """See ``Hierarchy``."""
        folder = f"{self.parents()[0]}/{name}"
        os.makedirs(folder, exist_ok=True)
        write_path(f"{folder}/cgroup.procs", str(os.getpid()))
        return _Group(folder)


def _without_leaf(group: str) -> str:
    """Where this process was before it moved into a leaf, or was started from one that had."""
    above, _, name = group.rpartition("/")
    return above.removesuffix(f"/{PARENT}") if name.endswith(_LEAF) else group


def _made_ready(base: str) -> bool:
    """Have ``base`` and the parent of groups in it hand controllers on; false where that cannot be."""
    parent = f"{base}/{PARENT}"
    try:
        if not _listed(base, "cgroup.controllers") >= _CONTROLLERS:
            return False
        os.makedirs(parent, exist_ok=True)
        _hand_on(base)
        _hand_on(parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(parent)
        return False
    return True


def _hand_on(folder: str) -> None:
    try:
        _enable(folder)
    except OSError as error:
        if error.errno != errno.EBUSY or _listed(folder, "cgroup.procs") != {str(os.getpid())}:
            raise
        leaf = f"{folder}/{PARENT}/{os.getpid()}{_LEAF}"
        os.makedirs(leaf, exist_ok=True)
        write_path(f"{leaf}/cgroup.procs", str(os.getpid()))
        _enable(folder)


def _enable(folder: str) -> None:
    if not _listed(folder, "cgroup.subtree_control") >= _CONTROLLERS:
        write_path(f"{folder}/cgroup.subtree_control", " ".join(f"+{each}" for each in sorted(_CONTROLLERS)))


def _listed(folder: str, name: str) -> set[str]:
    try:
        with open(f"{folder}/{name}", encoding="utf-8") as file:
            return set(file.read().split())
    except FileNotFoundError:
        return set()


class _Group(Group):
    def __init__(self, folder: str) -> None:
        # A kernel without swap has no such file, and refuses to make one as if it were forbidden.
        if os.path.exists(f"{folder}/memory.swap.max"):
            write_path(f"{folder}/memory.swap.max", "0")
        self.books = of_version_2(folder, resettable=True)
        self._memory_limit = os.open(f"{folder}/memory.max", os.O_WRONLY | os.O_CLOEXEC)
        self._reclaim_from = os.open(f"{folder}/memory.high", os.O_WRONLY | os.O_CLOEXEC)
        self._stat = os.open(f"{folder}/memory.stat", os.O_RDONLY | os.O_CLOEXEC)
        self._pids_limit = os.open(f"{folder}/pids.max", os.O_WRONLY | os.O_CLOEXEC)
        self.alarm = _EventsAlarm(folder)

    def limit(self, memory_bytes: int, processes: int) -> None:
        """See ``Group``."""
        write(self._pids_limit, processes)
        self._limit_memory(memory_bytes)
        self.books.restart_peak()

    def _limit_memory(self, memory_bytes: int) -> None:
        """Set the limit once less is in use: if more were, the kernel would end this very process."""
        for _ in range(_ATTEMPTS):
            if self.books.usage_bytes() <= memory_bytes:
                return write(self._memory_limit, memory_bytes)
            self._reclaim(memory_bytes)
        raise OSError(
            errno.EBUSY, f"more than {memory_bytes} bytes of memory stay in use before the program runs"
        )

    def lift_limit(self) -> None:
        """See ``Group``."""
        write(self._memory_limit, _UNLIMITED)
        self.alarm.is_right()  # read, so that it rings anew
        for _ in range(_ATTEMPTS):
            excess = field(os.pread(self._stat, _STAT_SIZE, 0), b"kernel ") - _SETTLED_BYTES
            if excess <= 0:
                break
            self._reclaim(self.books.usage_bytes() - excess)

    def _reclaim(self, down_to_bytes: int) -> None:
        """Ask the kernel for memory back that is only kept in case; unlike a limit, this ends nothing."""
        write(self._reclaim_from, max(0, down_to_bytes))
        write(self._reclaim_from, _UNLIMITED)
        time.sleep(_RETRY_S)


class _EventsAlarm(Alarm):
    """The file of events itself, which also tells of limits that were met and kept by reclaiming."""

    def __init__(self, folder: str) -> None:
        super().__init__(os.open(f"{folder}/memory.events", os.O_RDONLY | os.O_CLOEXEC), select.POLLPRI)
        self._met = 0
        self.is_right()

    def is_right(self) -> bool:
        """See ``Alarm``."""
        before, self._met = self._met, field(os.pread(self.descriptor, _EVENTS_SIZE, 0), b"oom ")
        return self._met > before
