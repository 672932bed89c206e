"""What the kernel has written down of a control group, whichever version of control groups it keeps."""

import os


class Books:
    """The counts of one group. Reading them needs no privilege; the files stay open.

    ``resettable`` is for a group that has one program after another: its peak is to be restarted for each.
    """

    def __init__(
        self,
        *,
        usage: str,
        peak: str,
        memory_events: str,
        process_events: str,
        cpu: str,
        cpu_field: bytes,
        cpu_unit_s: float,
        resettable: bool,
    ) -> None:
        self._usage = _opened(usage)
        self._peak = _opened_peak(peak, resettable=resettable)
        self._memory_events = _opened(memory_events)
        self._process_events = _opened(process_events)
        self._cpu = _opened(cpu)
        self._cpu_field = cpu_field
        self._cpu_unit_s = cpu_unit_s

    def usage_bytes(self) -> int:
        """Memory in use now, of every kind that is charged."""
        return int(os.pread(self._usage, 64, 0))

    def peak_bytes(self) -> int | None:
        """The most memory that was in use since the group began or its peak was restarted.

        Null where this kernel does not tell: before Linux 5.19, and if resettable 6.12, in version 2.
        """
        return None if self._peak is None else int(os.pread(self._peak, 64, 0))

    def restart_peak(self) -> None:
        """Measure the peak anew, from what is in use now."""
        if self._peak is not None:
            os.pwrite(self._peak, b"0", 0)

    def out_of_memory_kills(self) -> int:
        """How many processes the kernel has killed in this group for want of memory."""
        return field(os.pread(self._memory_events, 512, 0), b"oom_kill ")

    def refused_processes(self) -> int:
        """How often the kernel has refused this group another process."""
        return field(os.pread(self._process_events, 256, 0), b"max ")

    def cpu_seconds(self) -> float:
        """CPU time used in this group since it was made."""
        text = os.pread(self._cpu, 1024, 0)
        return (field(text, self._cpu_field) if self._cpu_field else int(text)) * self._cpu_unit_s


def of_version_1(memory: str, pids: str, cpuacct: str, *, resettable: bool = False) -> Books:
    """The books in the folders of three controllers."""
    return Books(
        usage=f"{memory}/memory.usage_in_bytes",
        peak=f"{memory}/memory.max_usage_in_bytes",
        memory_events=f"{memory}/memory.oom_control",
        process_events=f"{pids}/pids.events",
        cpu=f"{cpuacct}/cpuacct.usage",
        cpu_field=b"",
        cpu_unit_s=1e-9,
        resettable=resettable,
    )


def of_version_2(folder: str, *, resettable: bool = False) -> Books:
    """The books in the one folder of a group of version 2."""
    return Books(
        usage=f"{folder}/memory.current",
        peak=f"{folder}/memory.peak",
        memory_events=f"{folder}/memory.events",
        process_events=f"{folder}/pids.events",
        cpu=f"{folder}/cpu.stat",
        cpu_field=b"usage_usec ",
        cpu_unit_s=1e-6,
        resettable=resettable,
    )


def _opened(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _opened_peak(path: str, *, resettable: bool) -> int | None:
    try:
        return os.open(path, (os.O_RDWR if resettable else os.O_RDONLY) | os.O_CLOEXEC)
    except OSError:  # which one it is, where a file is not there or may not be written, differs by kernel
        return None


def field(text: bytes, name: bytes) -> int:
    """The number behind ``name`` in one of the kernel's tables, 0 if it is not in it."""
    for line in text.splitlines():
        if line.startswith(name):
            return int(line[len(name) :])
    return 0
