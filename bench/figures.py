"""What was measured, and what follows from it. Pure: numbers in, numbers out."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

ContenderName = Literal["bare", "chord", "sweep"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one contender over one corpus.

    ``cpu_s`` is all CPU time of its processes, programs included, by process; ``programs_cpu_s`` the
    programs' own, as their wait status tells. ``peak_mb`` is the highest sum of the resident memory of all
    its processes, ``client_peak_mb`` that of the process that sweeps or submits.
    """

    contender: ContenderName
    evaluations: int
    seconds: float
    cpu_s: Mapping[str, float]
    programs_cpu_s: float
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


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of medians of one run of the benchmark, with its target and, where there is one, the aim."""

    name: str
    value: float
    bound: Literal["at least", "at most"]
    target: float
    aim: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.bound == "at least" else self.value <= self.target


def ratios(figures: Figures) -> list[Ratio]:
    """What the benchmark is for. Sizes that were not measured leave their ratios out."""
    pace = {
        name: spread(runs, lambda run: run.per_second).median for name, runs in figures.algorithms.items()
    }
    beyond = {name: spread(runs, lambda run: run.beyond_ms).median for name, runs in figures.nothing.items()}
    found = [
        Ratio(
            "sweep / bare limit, evaluations per second", pace["sweep"] / pace["bare"], "at least", 0.5, 0.7
        ),
        Ratio("sweep / chord, evaluations per second", pace["sweep"] / pace["chord"], "at least", 1.2, 1.6),
        Ratio(
            "sweep / chord, CPU beyond the programs' own", beyond["sweep"] / beyond["chord"], "at most", 0.6
        ),
    ]
    largest = max(figures.sizes, default=0)
    if largest > _REFERENCE_SIZE and _REFERENCE_SIZE in figures.sizes:
        found += _growth(figures.sizes[_REFERENCE_SIZE], figures.sizes[largest], largest)
    return found


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
