"""What a slot needs of its control group, whichever version of control groups the kernel keeps."""

import contextlib
import errno
import os
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

from executors.sandbox.supervision.books import Books, field, of_version_1, of_version_2
from executors.sandbox.supervision.meter import Alarm

PARENT = "crucible"
"""Name of the group below which all slots of all executors have theirs."""


class Group(ABC):
    """The group this process is in, seen through files opened while it could open them.

    ``alarm`` rings once a program has met with its memory limit.
    """

    books: Books
    alarm: Alarm

    @abstractmethod
    def limit(self, memory_bytes: int, processes: int) -> None:
        """Allow this group so much in all from now on, and measure its peak anew.

        Raises ``OSError`` while more memory is in use than that.
        """

    @abstractmethod
    def lift_limit(self) -> None:
        """Let memory be free again until the next program begins, and forget what the last one left.

        After many processes or file names the kernel takes its time to give back what it held for them,
        which the next program would lack.
        """


class Hierarchy(ABC):
    """Where the kernel lets this process make groups."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether groups with all we count can be made here; makes ready what that takes."""

    @abstractmethod
    def parents(self) -> list[str]:
        """The folders in which groups are made: each group has one of its name in each of them."""

    @abstractmethod
    def events(self, name: str) -> str:
        """The path of the file in which the kernel counts the kills in the group called ``name``."""

    @abstractmethod
    def enter(self, name: str) -> Group:
        """Make the group called ``name`` and move this process into it; takes root."""


def mounted(kind: str) -> Iterator[tuple[str, str]]:
    """Where hierarchies of ``kind`` are mounted, each with its options."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            found, _, options = right.rstrip("\n").split(" ", 2)
            if found == kind:
                yield left.split(" ")[4], options


def own_groups() -> dict[str, str]:
    """The path of this process's group by controller; that of version 2 is under the empty name.

    The topmost group has the empty path.
    """
    own = {}
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), path.rstrip("/")))
    return own


def write_path(path: str, text: str) -> None:
    """Write a setting by its file's name."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write(descriptor: int, text: str | int) -> None:
    """Write a setting to its open file."""
    os.pwrite(descriptor, str(text).encode(), 0)


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


_CONTROLLERS_1 = ("memory", "pids", "cpuacct")
_NO_LIMIT = -1
_LIMIT_ATTEMPTS, _SETTLE_ATTEMPTS = 100, 100


class Version1(Hierarchy):
    """The groups below those this process is in, of each controller."""

    def __init__(self) -> None:
        mounts: dict[str, str] = {}
        for folder, options in mounted("cgroup"):
            mounts.update(dict.fromkeys(options.split(","), folder))
        own = own_groups()
        self._folders = [mounts[c] + own[c] for c in _CONTROLLERS_1 if c in mounts and c in own]

    def ready(self) -> bool:
        """See ``Hierarchy``."""
        return len(self._folders) == len(_CONTROLLERS_1) and all(
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
        return _Group1(*folders)


class _Group1(Group):
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
