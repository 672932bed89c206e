"""Figures as tables of words, the same ones for the terminal and for a Markdown document."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.figures import ContenderName, Figures, Measured, Ratio, Spread, spread
from bench.measure import CLIENT
from crucible.errors import InputError

_NAMES: Mapping[ContenderName, str] = {
    "bare": "bare limit",
    "chord": "Celery chord",
    "sweep": "Crucible sweep",
}
_CLIENTS: Mapping[ContenderName, str] = {
    "bare": "loop and programs",
    "chord": "chord's client",
    "sweep": "sweeping process",
}
_BOUNDS = {"at least": "≥", "at most": "≤"}
_MET = {True: "yes", False: "no", None: ""}
_COLUMNS = (
    "evaluations/s",
    "CPU ms per evaluation",
    "of it beyond the programs' own",
    "peak memory MiB",
)


@dataclass(frozen=True, slots=True)
class Grid:
    """One table. The first column is of words, all others are of numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a benchmark found: facts without which figures say nothing, tables, and all figures for JSON."""

    facts: dict[str, str]
    grids: list[Grid]
    figures: dict[str, Any]


class Markers(NamedTuple):
    """Two lines of a document, between which the figures of one kind of benchmark go."""

    begin: str
    end: str


def markers(kind: str) -> Markers:
    """Those of ``figures``, ``front``, ``scaling``, ``store`` or ``sandboxes``."""
    return Markers(f"<!-- {kind}: written by crucible bench -->", f"<!-- end of {kind} -->")


def check(path: Path, kind: str) -> None:
    """Raise ``InputError`` unless figures can be written into ``path``: before measuring, not after."""
    _parts(path, markers(kind))


def rewrite(path: Path, kind: str, report: Report) -> None:
    """Replace what is between the markers; raises ``InputError`` as ``check`` does."""
    place = markers(kind)
    before, after = _parts(path, place)
    list_of_facts = "\n".join(f"- {name}: {value}" for name, value in report.facts.items())
    tables = "\n\n".join(markdown(grid) for grid in report.grids)
    path.write_text(f"{before}{place.begin}\n\n{list_of_facts}\n\n{tables}\n\n{place.end}{after}")


def markdown(grid: Grid) -> str:
    """A table under a heading."""
    ruler = ["---", *("---:" for _ in grid.columns[1:])]
    rows = [grid.columns, ruler, *grid.rows]
    return f"### {grid.title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _parts(path: Path, place: Markers) -> tuple[str, str]:
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    before, begin, rest = text.partition(place.begin)
    _, end, after = rest.partition(place.end)
    if not begin or not end:
        raise InputError(
            f"{path}: has no line {place.begin!r} followed by {place.end!r}; figures go between these"
        )
    return before, after


def grids(figures: Figures, found: Iterable[Ratio]) -> list[Grid]:
    """All tables, the weightiest first."""
    return [
        ratio_grid(found),
        _contenders("Small algorithms", figures.algorithms),
        _contenders("Programs that do nothing", figures.nothing),
        _sizes(figures.sizes),
        _processes(figures.nothing),
    ]


def ratio_grid(found: Iterable[Ratio]) -> Grid:
    """Ratios beside what was asked for."""
    rows = tuple(
        (
            each.name,
            f"{each.value:.2f}",
            "" if each.target is None else f"{_BOUNDS[each.bound]} {each.target:g}",
            "" if each.aim is None else f"{each.aim:g}",
            _MET[each.is_met],
        )
        for each in found
    )
    return Grid("Ratios", ("", "measured", "target", "aim", "met"), rows)


def _contenders(title: str, runs: Mapping[ContenderName, Sequence[Measured]]) -> Grid:
    size = next(iter(runs.values()))[0].evaluations
    rows = tuple((_NAMES[name], *_cells(each)) for name, each in runs.items())
    return Grid(f"{title}: {size:,} evaluations, {_times(runs.values())}", ("", *_COLUMNS), rows)


def _sizes(sizes: Mapping[int, Sequence[Measured]]) -> Grid:
    rows = tuple(
        (f"{size:,} evaluations", *_cells(runs), _short(spread(runs, lambda run: run.client_peak_mb)))
        for size, runs in sizes.items()
    )
    title = "Crucible's sweep of programs that do nothing, by size"
    return Grid(title, ("", *_COLUMNS, "of it in the sweeping process"), rows)


def _processes(runs: Mapping[ContenderName, Sequence[Measured]]) -> Grid:
    """Where the CPU goes; the executors' part includes sandbox and programs."""
    found = {name: _by_process(name, runs[name]) for name in runs}
    rows = tuple(
        (process, *(f"{found[name][process]:.2f}" if process in found[name] else "" for name in found))
        for process in dict.fromkeys(process for each in found.values() for process in each)
    )
    return Grid(
        "CPU ms per evaluation by process, programs that do nothing",
        ("", *(_NAMES[name] for name in found)),
        rows,
    )


def _by_process(name: ContenderName, runs: Sequence[Measured]) -> dict[str, float]:
    per_run = [
        {process: used / run.evaluations * 1000 for process, used in run.cpu_s.items()} for run in runs
    ]
    return {
        _CLIENTS[name] if process == CLIENT else process: median(each[process] for each in per_run)
        for process in per_run[0]
    }


def _cells(runs: Sequence[Measured]) -> tuple[str, ...]:
    figures: tuple[Callable[[Measured], float], ...] = (
        lambda run: run.per_second,
        lambda run: run.cpu_ms,
        lambda run: run.beyond_ms,
        lambda run: run.peak_mb,
    )
    return tuple(_short(spread(runs, figure)) for figure in figures)


def _short(found: Spread) -> str:
    """The median, and how far apart the repetitions were if there were several."""
    digits = 0 if found.median >= _LARGE else 1
    middle = f"{found.median:,.{digits}f}"
    if found.lowest == found.highest:
        return middle
    return f"{middle} ({found.lowest:,.{digits}f}-{found.highest:,.{digits}f})"


_LARGE = 100


def _times(runs: Iterable[Sequence[Measured]]) -> str:
    times = len(next(iter(runs)))
    return "once" if times == 1 else f"{times} times by turns, median (lowest-highest)"
