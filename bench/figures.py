"""What was measured, and what follows from it. Pure: numbers in, numbers out."""

import os
import platform
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bench.child import ROOT

ContenderName = Literal["bare", "chord", "sweep"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one contender over one corpus.

    ``cpu_s`` is all CPU time of its processes, programs included, by process; ``programs_cpu_s`` what the
    kernel charged the programs themselves; ``machine_cpu_s`` the CPU time of everything on this machine.
    ``peak_mb`` is the highest sum of the resident memory of all its processes, ``client_peak_mb`` that of
    the process that sweeps or submits.
    """

    contender: ContenderName
    evaluations: int
    seconds: float
    cpu_s: Mapping[str, float]
    programs_cpu_s: float
    machine_cpu_s: float
    peak_mb: float
    client_peak_mb: float

    @property
    def per_second(self) -> float:
        """Evaluations a second."""
        return self.evaluations / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU for one evaluation, all processes together."""
        return sum(self.cpu_s.values()) / self.evaluations * 1000

    @property
    def beyond_ms(self) -> float:
        """Milliseconds of CPU for one evaluation beyond those of the two programs themselves."""
        return self.cpu_ms - self.programs_cpu_s / self.evaluations * 1000


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of repetitions, and the lowest and highest of them."""

    median: float
    lowest: float
    highest: float


def spread(runs: Sequence[Measured], figure: Callable[[Measured], float]) -> Spread:
    """How one figure came out over repetitions."""
    values = [figure(run) for run in runs]
    return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything a benchmark measured. ``sizes`` holds sweeps of programs that do nothing, smallest first."""

    algorithms: Mapping[ContenderName, Sequence[Measured]]
    nothing: Mapping[ContenderName, Sequence[Measured]]
    sizes: Mapping[int, Sequence[Measured]]

    @property
    def others_share(self) -> float:
        """The part of the machine's CPU time that was not the contenders'; where large, paces mean little."""
        groups = (*self.algorithms.values(), *self.nothing.values(), *self.sizes.values())
        runs = [run for group in groups for run in group]
        return 1 - sum(sum(run.cpu_s.values()) for run in runs) / sum(run.machine_cpu_s for run in runs)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of medians of one run of the benchmark. ``target`` and ``aim`` are null where none was set."""

    name: str
    value: float
    bound: Literal["at least", "at most"] = "at least"
    target: float | None = None
    aim: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; null without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.bound == "at least" else self.value <= self.target


def ratios(figures: Figures) -> list[Ratio]:
    """What the benchmark is for. Sizes that were not measured leave their ratios out.

    Evaluations per CPU second are the paces that a machine would give whose cores had nothing else to do.
    """
    pace = _medians(figures.algorithms, lambda run: run.per_second)
    cost = _medians(figures.algorithms, lambda run: run.cpu_ms)
    beyond = _medians(figures.nothing, lambda run: run.beyond_ms)
    found = [
        Ratio("sweep / bare limit, evaluations/s", pace["sweep"] / pace["bare"], "at least", 0.5, 0.7),
        Ratio("sweep / bare limit, evaluations per CPU second", cost["bare"] / cost["sweep"]),
        Ratio("sweep / chord, evaluations/s", pace["sweep"] / pace["chord"], "at least", 1.2, 1.6),
        Ratio("sweep / chord, evaluations per CPU second", cost["chord"] / cost["sweep"]),
        Ratio(
            "sweep / chord, CPU beyond the programs' own", beyond["sweep"] / beyond["chord"], "at most", 0.6
        ),
    ]
    largest = max(figures.sizes, default=0)
    if largest > _REFERENCE_SIZE and _REFERENCE_SIZE in figures.sizes:
        found += _growth(figures.sizes[_REFERENCE_SIZE], figures.sizes[largest], largest)
    return found


def _medians(
    runs: Mapping[ContenderName, Sequence[Measured]], figure: Callable[[Measured], float]
) -> dict[ContenderName, float]:
    return {name: spread(each, figure).median for name, each in runs.items()}


_REFERENCE_SIZE = 500


def _growth(small: Sequence[Measured], large: Sequence[Measured], size: int) -> list[Ratio]:
    def grown(figure: Callable[[Measured], float]) -> float:
        return spread(large, figure).median / spread(small, figure).median

    label = f"at {size:,} / at {_REFERENCE_SIZE}"
    return [
        Ratio(f"time for one evaluation {label}", 1 / grown(lambda run: run.per_second), "at most", 1.2),
        Ratio(f"CPU beyond the programs' own {label}", grown(lambda run: run.beyond_ms), "at most", 1.2),
        Ratio(
            f"peak memory of the sweeping process {label}",
            grown(lambda run: run.client_peak_mb),
            "at most",
            1.2,
        ),
    ]


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
