"""``python -m bench.simulation``: how often gates say GO wrongly, and how soon faults are noticed.

Seeded: the same seed gives the same figures. All gates look after every single pair.
"""

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from crucible.evidence import Detector, Question, evidence
from crucible.verdict import rate_upper_bound

_QUESTION = Question()
_LEAST_PAIRS = 50
_CLEAN_BEFORE = 10_000
_RATES_AFTER = (0.01, 0.02, 0.05, 0.2, 1.0)
_DELAY_RUNS_PART = 20

Gate = Callable[[int, int], bool]
"""Whether so many pairs with so many mismatches are a GO; once they are, more matches change nothing."""


def by_e_process(pairs: int, mismatches: int) -> bool:
    """Our own gate."""
    return evidence(pairs, mismatches, _QUESTION).go


def by_peeked_bound(pairs: int, mismatches: int) -> bool:
    """The exact bound for one look (Clopper and Pearson), looked at all the time."""
    bound = rate_upper_bound(mismatches, pairs, 1 - _QUESTION.alpha)
    return bound is not None and bound < _QUESTION.p0


def by_threshold(pairs: int, mismatches: int) -> bool:
    """What rollout tools do: the rate seen is below the bound, after a least number of pairs."""
    return pairs >= _LEAST_PAIRS and mismatches / pairs < _QUESTION.p0


GATES: Mapping[str, Gate] = {
    "e-process": by_e_process,
    "Clopper-Pearson, peeked": by_peeked_bound,
    "threshold": by_threshold,
}


@dataclass(frozen=True, slots=True)
class FalseGo:
    """``rate`` of the runs in which a gate said GO although mismatches came at p0."""

    gate: str
    runs: int
    pairs_each: int
    rate: float


@dataclass(frozen=True, slots=True)
class Delay:
    """Pairs from a fault to the alarm, after a long clean time; of the threshold as well, for comparison."""

    mismatch_rate: float
    median: float
    p95: float
    threshold_median: float


def false_gos(runs: int, pairs_each: int, seed: int) -> list[FalseGo]:
    """Every gate over the same runs, whose mismatches come at exactly p0."""
    enough = {name: list(_enough(gate, pairs_each)) for name, gate in GATES.items()}
    wrong = dict.fromkeys(GATES, 0)
    chance = random.Random(seed)  # noqa: S311 (a simulation)
    for _ in track(range(runs), "looking at runs", transient=True, console=Console(stderr=True)):
        arrivals = [*_arrivals(chance, _QUESTION.p0, pairs_each), pairs_each + 1]
        for name, needed in enough.items():
            wrong[name] += _says_go(arrivals, needed)
    return [FalseGo(name, runs, pairs_each, count / runs) for name, count in wrong.items()]


def delays(runs: int, seed: int) -> list[Delay]:
    """How many pairs a fault goes unnoticed, by the mismatch rate that it causes."""
    chance = random.Random(seed)  # noqa: S311 (a simulation)
    found = []
    for rate in _RATES_AFTER:
        took = [_pairs_to_alarm(chance, rate) for _ in range(runs)]
        threshold = [_pairs_to_threshold(chance, rate) for _ in range(runs)]
        p95 = quantiles(took, n=20, method="inclusive")[-1]
        found.append(Delay(rate, median(took), p95, median(threshold)))
    return found


def _enough(gate: Gate, most: int) -> Iterator[int]:
    """For 0, 1, 2 ... mismatches, the fewest pairs that are a GO; ends where ``most`` are too few."""
    mismatches, fewest = 0, 1
    while True:
        fewest = max(fewest, mismatches)
        if not gate(most, mismatches):
            return
        low, high = fewest - 1, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if gate(middle, mismatches) else (middle, high)
        fewest = high
        yield fewest
        mismatches += 1


def _says_go(arrivals: Iterable[int], needed: list[int]) -> bool:
    """Whether enough pairs had come before some mismatch: E and bounds are at their best just before one."""
    return any(arrival - 1 >= fewest for arrival, fewest in zip(arrivals, needed, strict=False))


def _arrivals(chance: random.Random, rate: float, most: int) -> Iterator[int]:
    """The numbers of the pairs that mismatch."""
    number = 0
    while (number := number + _gap(chance, rate)) <= most:
        yield number


def _gap(chance: random.Random, rate: float) -> int:
    if rate >= 1:
        return 1
    return int(math.log1p(-chance.random()) / math.log1p(-rate)) + 1


def _pairs_to_alarm(chance: random.Random, rate: float) -> int:
    state, pairs = Detector().after_matches(_CLEAN_BEFORE), 0
    while not state.alarmed:
        gap = _gap(chance, rate)
        state, pairs = state.after_matches(gap - 1).after(mismatch=True), pairs + gap
    return pairs


def _pairs_to_threshold(chance: random.Random, rate: float) -> int:
    """Until the rate seen from the beginning on is above p0; never at p0 itself, which is capped."""
    mismatches = pairs = 0
    while mismatches <= _QUESTION.p0 * (_CLEAN_BEFORE + pairs) and pairs < 100 * _CLEAN_BEFORE:
        pairs += _gap(chance, rate)
        mismatches += 1
    return pairs


def main(
    runs: Annotated[int, typer.Option(min=100, help="How many runs each gate is tried on.")] = 20_000,
    pairs: Annotated[int, typer.Option(min=400, help="Pairs in each run, all of them looked at.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Where chance begins.")] = 1,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Try gates where mismatches come at exactly the rate they must rule out, and time the way back."""
    gos, late = false_gos(runs, pairs, seed), delays(max(100, runs // _DELAY_RUNS_PART), seed)
    if as_json:
        typer.echo(
            json.dumps({"false_go": [asdict(each) for each in gos], "delay": [asdict(d) for d in late]})
        )
        return
    table = Table("gate", "GO although wrong", title=f"{runs:,} runs of {pairs:,} pairs at p0", box=None)
    for each in gos:
        table.add_row(each.gate, f"{each.rate:.2%}")
    Console().print(table)
    table = Table(
        *("mismatch rate", "median", "p95", "threshold, median"), title="\nPairs to the alarm", box=None
    )
    for delay in late:
        numbers = (f"{value:,.0f}" for value in (delay.median, delay.p95, delay.threshold_median))
        table.add_row(f"{delay.mismatch_rate:.0%}", *numbers)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
