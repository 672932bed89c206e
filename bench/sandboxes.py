"""What sandboxes cost: a program that does nothing, alone, in each of them, and as one would else."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import quantiles

from bench.figures import Ratio, describe_machine
from bench.tables import Grid, Report, ratio_grid
from crucible.errors import PlatformError
from crucible.settings import Settings

_BARE, _PROCESS, _DOCKER, _COLD = "bare", "process sandbox", "prewarmed Docker", "cold docker run"
_PERCENT = 100
_QUICK_ROUNDS, _ROUNDS = 20, 100


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a program: how long single runs took, sorted, and how many a second at saturation."""

    seconds: tuple[float, ...]
    per_second: float

    def percentile_ms(self, percent: int) -> float:
        """Milliseconds within which ``percent`` of the runs were over."""
        return quantiles(self.seconds, n=_PERCENT, method="inclusive")[percent - 1] * 1000


async def report(_settings: Settings, *, quick: bool, say: Callable[[str], None]) -> Report:
    """Measure all ways, which takes minutes. Raises ``PlatformError``."""
    facts = describe_machine()
    say("running one program in each sandbox, by turns")
    ways = measure(_QUICK_ROUNDS if quick else _ROUNDS)
    figures = {
        "ways": {name: asdict(way) for name, way in ways.items()},
        "ratios": [asdict(each) for each in ratios(ways)],
    }
    return Report(facts, grids(ways), figures)


def measure(rounds: int) -> dict[str, Way]:
    """All ways by turns, in a process that may import sandboxes. Raises ``PlatformError``."""
    command = [sys.executable, "-m", "executors.overhead", str(rounds)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise PlatformError(f"sandboxes were not measured: {said[-1] if said else done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: Way(tuple(sorted(each["seconds"])), each["per_second"]) for name, each in found.items()}


def ratios(ways: Mapping[str, Way]) -> list[Ratio]:
    """What was asked of them; those alone for which there is a measurement."""
    p50 = {name: way.percentile_ms(50) for name, way in ways.items()}
    found = [
        Ratio("process sandbox / bare, p50", p50[_PROCESS] / p50[_BARE], "at most", 1.5),
        Ratio("prewarmed Docker / bare, p50", p50[_DOCKER] / p50[_BARE], "at most", 3),
    ]
    if _COLD in p50:
        found.append(
            Ratio("cold docker run / prewarmed Docker, p50", p50[_COLD] / p50[_DOCKER], "at least", 8)
        )
    return found


def grids(ways: Mapping[str, Way]) -> list[Grid]:
    """The tables, ratios first."""
    columns = ("", "p50 ms", "p95 ms", "p99 ms", "at saturation, runs/s")
    rows = tuple(
        (name, *(f"{way.percentile_ms(each):.1f}" for each in (50, 95, 99)), f"{way.per_second:.1f}")
        for name, way in ways.items()
    )
    count = len(next(iter(ways.values())).seconds)
    return [
        ratio_grid(ratios(ways)),
        Grid(f"One program that prints 1, {count} times by turns", columns, rows),
    ]
