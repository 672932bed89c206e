"""What a program uses: from the kernel's books where it keeps them for us, else from /proc."""

import os
import time

from executors.sandbox.supervision.books import Books

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_POLL_S = 0.02
_NEVER_S = 3600.0
# Fields of /proc/PID/stat, counted from the state on.
_CPU_TICKS, _THREADS, _RESIDENT = slice(11, 15), 17, 21


class Alarm:
    """Rings when a program has met with its memory limit: polling ``descriptor`` then reports ``events``."""

    def __init__(self, descriptor: int, events: int) -> None:
        self.descriptor = descriptor
        self.events = events

    def is_right(self) -> bool:
        """Whether it rang for the limit's being met, of which it is asked once each time."""
        raise NotImplementedError


class Meter:
    """Measures one stage of a program.

    ``look_every_s`` is how often that is called for.
    """

    look_every_s = _NEVER_S
    alarm: Alarm | None = None

    def cpu_seconds(self, reaped: float) -> float:
        """CPU time used since the stage began; ``reaped`` is that of the processes collected by now."""
        raise NotImplementedError

    def over_memory(self, memory_bytes: int, processes: int) -> bool:
        """Whether more memory than ``memory_bytes`` is in use and the kernel does not end it itself."""
        raise NotImplementedError

    def refused_processes(self) -> int:
        """How often another process was refused; from what number it counts is the caller's to know."""
        raise NotImplementedError


class GroupMeter(Meter):
    """Reads a control group, by which the kernel itself keeps memory and processes limited.

    Without an ``alarm`` the kernel's count of what it ended for want of memory is looked at.
    """

    def __init__(self, books: Books, alarm: Alarm | None) -> None:
        self._books = books
        self.alarm = alarm
        self._cpu_before = books.cpu_seconds() - time.process_time()
        self._kills_before = books.out_of_memory_kills()
        if alarm is None:
            self.look_every_s = _POLL_S

    def cpu_seconds(self, reaped: float) -> float:  # noqa: ARG002 (the group's own sum has them)
        """See ``Meter``."""
        return self._books.cpu_seconds() - time.process_time() - self._cpu_before  # without the watcher's own

    def over_memory(self, memory_bytes: int, processes: int) -> bool:  # noqa: ARG002 (the group has both)
        """See ``Meter``; here, whether the kernel has ended one process and left others."""
        return self.alarm is None and self._books.out_of_memory_kills() > self._kills_before

    def refused_processes(self) -> int:
        """See ``Meter``."""
        return self._books.refused_processes()


class ProcessMeter(Meter):
    """Adds up the processes of this namespace, often enough to keep a memory limit."""

    look_every_s = _POLL_S

    def __init__(self) -> None:
        self._crowded = False

    def cpu_seconds(self, reaped: float) -> float:
        """See ``Meter``."""
        ticks = sum(int(field) for fields in _stats() for field in fields[_CPU_TICKS])
        return reaped + ticks / _CLOCK_TICKS

    def over_memory(self, memory_bytes: int, processes: int) -> bool:
        """See ``Meter``; memory that processes share counts once."""
        stats = _stats()
        self._crowded |= sum(int(fields[_THREADS]) for fields in stats) >= processes
        resident = sum(int(fields[_RESIDENT]) for fields in stats) * _PAGE
        return resident > memory_bytes and _proportional_bytes() > memory_bytes

    def refused_processes(self) -> int:
        """One if there were as many processes as allowed: then the next was refused, or would have been."""
        return int(self._crowded)


def own_memory_bytes() -> int:
    """Memory of this process that is no file's: of a watcher, what is not its program's."""
    with open("/proc/self/statm", "rb") as file:
        _, resident, of_files, *_ = file.read().split()
    return (int(resident) - int(of_files)) * _PAGE


def longest_wait_for_cpu() -> float:
    """Seconds that the worst-off process was ready to run and had no CPU."""
    waits = [fields[1] for pid in _processes() if (fields := _read(pid, "schedstat").split())]
    return max(map(int, waits), default=0) / 1e9


def _proportional_bytes() -> int:
    """Memory of all processes with shared pages split among those who share them.

    Of a process that does not let itself be looked into, what it has resident counts in full.
    """
    total = 0
    for pid in _processes():
        for line in _read(pid, "smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) << 10
                break
        else:
            total += sum(int(fields[_RESIDENT]) * _PAGE for fields in [_stat(pid)] if fields)
    return total


def _processes() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _stats() -> list[list[str]]:
    return [fields for pid in _processes() if (fields := _stat(pid))]


def _stat(pid: str) -> list[str]:
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: str, name: str) -> str:
    """The text of one of a process's files; empty when the process is gone or hides it."""
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
