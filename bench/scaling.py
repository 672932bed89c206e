"""One, two and four worker sets on programs that wait, beside what the capacity model says of them."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import ceil

from bench.capacity import PARTS, SINGLE, SLOTS, Costs, Fleet, Load, Prediction, costs_of, predict
from bench.figures import Measured, cores, describe_machine
from bench.measure import Lineup, lineup_of_its_own, measure, nothing
from bench.tables import Grid, Report
from crucible.settings import Settings

Say = Callable[[str], None]

WAIT_S = 1.0
"""What each program waits: much longer than it computes."""
SETS = (1, 2, 4)
RATES = (1_000, 10_000, 100_000)
"""Evaluations a second, for which the model says what they take."""

_PROGRAM = f"import time; time.sleep({WAIT_S})"
_WARM_UP = 24
_FULL_BY = 0.7
"""Part of the time that a part may be busy before its queue grows long."""
_SHORTEST_S = 2.0
_MOST = 20_000


@dataclass(frozen=True, slots=True)
class Extent:
    """Evaluations that cost nothing but themselves, and those that wait, for each set."""

    nothing: int
    waiting: int


FULL = Extent(nothing=800, waiting=120)
QUICK = Extent(nothing=200, waiting=40)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Evaluations a second by number of worker sets, measured and predicted, and what each costs."""

    costs: Costs
    measured: dict[int, float]
    predicted: dict[int, float]


async def report(settings: Settings, *, quick: bool, say: Say) -> Report:
    """Measure on stacks of its own, one after the other; minutes. Raises ``PlatformError``."""
    facts = describe_machine()
    found = await _measured(settings, QUICK if quick else FULL, say)
    return Report(facts, grids(found), asdict(found))


async def _measured(settings: Settings, extent: Extent, say: Say) -> Scaling:
    measured: dict[int, float] = {}
    costs: Costs | None = None
    for sets in SETS:
        say(f"worker sets: {sets}")
        async with lineup_of_its_own(settings.model_copy(update={"worker_sets": sets})) as lineup:
            if costs is None:
                costs = costs_of(await _swept(lineup, nothing(), extent.nothing))
            waiting = await _swept(lineup, [_PROGRAM], extent.waiting * sets)
            measured[sets] = waiting.per_second
    assert costs is not None  # noqa: S101 (there is a first set)
    predicted = {
        sets: predict(costs, Fleet(sets, cores=cores()), Load(extent.waiting * sets, WAIT_S)).per_second
        for sets in SETS
    }
    return Scaling(costs, measured, predicted)


def grids(found: Scaling) -> list[Grid]:
    """All tables."""
    rows = tuple(_compared(found, sets) for sets in SETS)
    needed = [(rate, needs(found.costs, rate)) for rate in RATES]
    return [
        Grid(f"Worker sets, programs that wait {WAIT_S:g} s", _COMPARED, rows),
        Grid("CPU ms for one evaluation, programs that do nothing", _COSTS, tuple(_costs(found.costs))),
        Grid("One of each part: where it ends", _ENDS, tuple(_ends(found.costs))),
        Grid("Played: what comes, and what becomes of it", _PLAYED, tuple(_plays(found.costs, needed))),
        Grid("What it takes", ("", *(f"{rate:,}/s" for rate, _ in needed)), tuple(_table(needed))),
    ]


_COMPARED = ("worker sets", "evaluations/s", "times one set", "predicted", "measured / predicted")
_COSTS = ("part", "ms", "share")
_PLAYED = ("", "evaluations/s", "p95, s", "busiest part")
_ENDS = ("", "evaluations/s at which it is full")


def needs(costs: Costs, rate: float) -> dict[str, int]:
    """How many processes, slots of each leg and cores of executors ``rate`` takes, with room left."""
    found = {part: ceil(rate * costs.cpu_s[part] / _FULL_BY) for part in SINGLE}
    for leg in SLOTS:
        busy_s = WAIT_S + costs.cpu_s[f"{leg} executors"] + costs.cpu_s[f"{leg} workers"]
        found[f"slots, {leg}"] = ceil(rate * busy_s / _FULL_BY)
        found[f"cores, {leg} executors"] = ceil(rate * costs.cpu_s[f"{leg} executors"] / _FULL_BY)
    return found


def played(costs: Costs, rate: float, singles: dict[str, int]) -> Prediction:
    """What the model says of ``rate``, with worker sets enough and ``singles`` of the rest, or one."""
    sets = max(ceil(needs(costs, rate)[f"slots, {leg}"] / number) for leg, number in SLOTS.items())
    number = min(_MOST, int(rate * _SHORTEST_S))
    return predict(costs, Fleet(sets, singles), Load(number, WAIT_S, per_second=rate))


def _compared(found: Scaling, sets: int) -> tuple[str, ...]:
    one, here, said = found.measured[SETS[0]], found.measured[sets], found.predicted[sets]
    return str(sets), f"{here:.2f}", f"{here / one:.2f}", f"{said:.2f}", f"{here / said:.2f}"


def _costs(costs: Costs) -> Iterator[tuple[str, ...]]:
    for part in PARTS:
        yield part, f"{1000 * costs.cpu_s[part]:.2f}", f"{costs.cpu_s[part] / costs.total_s:.0%}"


def _ends(costs: Costs) -> Iterator[tuple[str, ...]]:
    for part in sorted(SINGLE, key=lambda each: -costs.cpu_s[each]):
        yield part, f"{1 / costs.cpu_s[part]:,.0f}"


def _plays(costs: Costs, needed: list[tuple[int, dict[str, int]]]) -> Iterator[tuple[str, ...]]:
    for rate, found in needed:
        enough = {part: found[part] for part in SINGLE}
        for said, singles in (("one of each but workers", {}), ("what it takes", enough)):
            play = played(costs, rate, singles)
            busy = f"{play.bottleneck}, {play.busy[play.bottleneck]:.0%}"
            yield f"{rate:,}/s, {said}", f"{play.per_second:,.0f}", f"{play.p95_s:.2f}", busy


def _table(needed: list[tuple[int, dict[str, int]]]) -> Iterator[tuple[str, ...]]:
    for part in needed[0][1]:
        yield part, *(f"{found[part]:,}" for _, found in needed)


async def _swept(lineup: Lineup, programs: list[str], number: int) -> Measured:
    async with lineup.sweep() as contender:
        await measure(contender, lineup.folder, programs, _WARM_UP)
        return await measure(contender, lineup.folder, programs, number)
