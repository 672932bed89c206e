"""The machine: where and when it was measured, and from /proc, what process trees use of it."""

import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.child import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGES_PER_MIB = (1 << 20) // os.sysconf("SC_PAGE_SIZE")


def describe_machine() -> dict[str, str]:
    """Facts without which figures say nothing; ``load before`` tells whether others were at work."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "CPU": f"{_field('/proc/cpuinfo', 'model name')}, {cores()} cores",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0"


def _commit() -> str:
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return f"{commit}, with changes" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@dataclass(frozen=True, slots=True)
class Usage:
    """``cpu_s`` since the tree began, ended and reaped processes included; ``resident_mb`` at this moment.

    A page that several processes share counts in each of them.
    """

    cpu_s: float
    resident_mb: float


def usage_of(roots: Mapping[str, int]) -> dict[str, Usage]:
    """The usage of the trees under these processes; one that is gone has used nothing."""
    processes = dict(_processes())
    children = defaultdict(list)
    for pid, (parent, _) in processes.items():
        children[parent].append(pid)
    return {name: _total(root, processes, children) for name, root in roots.items()}


def machine_cpu_s() -> float:
    """CPU seconds this machine has spent since it started, the kernel's own work included."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system, _idle, _waiting, irq, softirq = map(int, first[1:8])
    return (user + nice + system + irq + softirq) / _TICKS


def _total(root: int, processes: dict[int, tuple[int, Usage]], children: Mapping[int, list[int]]) -> Usage:
    cpu_s = resident_mb = 0.0
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in processes:
            own = processes[pid][1]
            cpu_s, resident_mb = cpu_s + own.cpu_s, resident_mb + own.resident_mb
            waiting += children.get(pid, [])
    return Usage(cpu_s, resident_mb)


def _processes() -> Iterator[tuple[int, tuple[int, Usage]]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked; its parent's books have it
        # Fields of proc(5), from the third on: parent, own times and reaped children's, resident pages.
        cpu_s = sum(map(int, fields[11:15])) / _TICKS
        yield int(folder.name), (int(fields[1]), Usage(cpu_s, int(fields[21]) / _PAGES_PER_MIB))
