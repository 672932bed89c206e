"""What the way in costs: from handing in to the comparison, how fast it accepts, and how fast pages are."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from math import ceil
from statistics import median

from bench.child import Flood, flood
from bench.figures import Ratio, describe_machine
from bench.measure import Lineup, lineup_of_its_own, measure, nothing, settled
from bench.tables import Grid, Report, ratio_grid
from crucible.ids import new_evaluation_ids, new_sweep_id
from crucible.models import Classification, Comparison, Evaluation
from crucible.settings import Settings
from crucible.store import Store, Submission
from deployments.stack import Home
from deployments.stack.plan import plan_stack

Say = Callable[[str], None]

FLOODS = {1: 16, 20: 4}
"""Evaluations in a request, and from how many connections such requests come without pause."""

_PROGRAM = {"language": "python", "code": ""}
_CALLERS = 16
_EACH = 20
_THROUGH = "through the API to the end"
_CHUNK = 1000
_LISTS = (
    *("/evaluations", "/evaluations?status=settled&limit=50", "/evaluations?classification=mismatch"),
    *("/evaluations?language=ruby", "/evaluations?name=old-77", "/evaluations?tag=old", "/sweeps"),
)
_PAGES = (
    "/dashboard/",
    "/dashboard/evaluations",
    "/dashboard/rollout",
    "/dashboard/sweeps",
    "/dashboard/parts",
)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured. ``seconds`` is how long a flood lasts."""

    alone: int
    seconds: int
    accepted: int
    stored: int
    asked: int


FULL = Extent(alone=100, seconds=8, accepted=1500, stored=100_000, asked=20)
QUICK = Extent(alone=30, seconds=4, accepted=600, stored=10_000, asked=5)


@dataclass(frozen=True, slots=True)
class Front:
    """Seconds by what was measured; ``paces`` are evaluations a second, ``floods`` by those in a request."""

    seconds: Mapping[str, Sequence[float]]
    paces: Mapping[str, float]
    floods: Mapping[int, Flood]
    stored: int


async def report(settings: Settings, *, quick: bool, say: Say) -> Report:
    """Measure on a stack of its own, whose store was filled before; raises ``PlatformError``."""
    extent = QUICK if quick else FULL
    facts = describe_machine()

    async def fill(home: Home) -> None:
        say(f"filling a store with {extent.stored:,} evaluations")
        await _fill(home.database_url, extent.stored)
        say("starting a stack")

    async with lineup_of_its_own(settings, fill, plan_stack) as lineup:
        found = await _measured(lineup, extent, say)
    asked = ratios(found)
    return Report(facts, grids(found), {**asdict(found), "ratios": [asdict(each) for each in asked]})


async def _measured(lineup: Lineup, extent: Extent, say: Say) -> Front:
    state = lineup.state
    async with lineup.caller() as caller:
        async with lineup.chord() as chord:
            say("one evaluation at a time")
            await caller.ask({"do": "alone", "number": 10})
            bare = await chord.client.ask({"round_trips": extent.alone})
            alone = await caller.ask({"do": "alone", "number": extent.alone})
        say("lists and pages")
        lists = await caller.ask(
            {"do": "gets", "addresses": _LISTS, "number": extent.asked, "cookie_key": None}
        )
        pages = await caller.ask(
            {"do": "gets", "addresses": _PAGES, "number": extent.asked, "cookie_key": state.api_key}
        )
        floods = {}
        for each, connections in FLOODS.items():
            say(f"a flood of requests, {each} evaluations in each")
            body = [_PROGRAM] * each if each > 1 else _PROGRAM
            url = f"{state.api_url}/evaluations"
            floods[each] = await flood(url, state.api_key, body, connections, extent.seconds)
            await caller.ask({"do": "settled"})
        say("as many as it takes")
        order = {"do": "crowd", "number": extent.accepted, "callers": _CALLERS, "each": _EACH}
        crowd = await caller.ask(order)
        say("a sweep of as many")
        async with lineup.sweep() as contender:
            swept = await measure(contender, lineup.folder, nothing(), extent.accepted)
    overhead = [wall - ran for wall, ran in zip(alone["walls"], alone["slower"], strict=True)]
    seconds = {
        "bare Celery, there and back": bare["seconds"],
        "handing in to comparison": alone["walls"],
        "of it beyond the slower leg's program": overhead,
        **{f"GET {address}": found for address, found in (lists | pages).items()},
    }
    paces = {
        f"accepted from {_CALLERS} callers without pause": extent.accepted / crowd["accepted"],
        _THROUGH: extent.accepted / crowd["settled"],
        "in a sweep": swept.per_second,
    }
    return Front(seconds, paces, floods, extent.stored)


def ratios(front: Front) -> list[Ratio]:
    """What was asked of the front. Times are in ms where they are no ratios of one run."""
    overhead = front.seconds["of it beyond the slower leg's program"]
    bare = median(front.seconds["bare Celery, there and back"])
    lists = [value for name in _LISTS for value in front.seconds[f"GET {name}"]]
    pages = [value for name, found in front.seconds.items() if name.startswith("GET /d") for value in found]
    pace = front.paces[_THROUGH] / front.paces["in a sweep"]
    accepted = [
        ratio
        for each, found in front.floods.items()
        for ratio in (
            Ratio(f"accepted a second, {each} in a request", _accepted(found, each), "at least", 300),
            Ratio(f"accepting, p99, ms, {each} in a request", 1000 * found.p99, "at most", 250),
        )
    ]
    return [
        Ratio("overhead / bare Celery round trip", median(overhead) / bare, "at most", 10),
        Ratio("overhead, p50, ms", 1000 * median(overhead), "at most", 100, 60),
        Ratio("overhead, p95, ms", 1000 * at(overhead, 0.95), "at most", 300),
        *accepted,
        Ratio("through the API / sweep, evaluations/s", pace, "at least", 0.8),
        Ratio("lists, p95, ms", 1000 * at(lists, 0.95), "at most", 50),
        Ratio("pages, longest, ms", 1000 * max(pages), "at most", 1000),
    ]


def grids(front: Front) -> list[Grid]:
    """All tables, the weightiest first."""
    times = tuple(
        (name, *(f"{1000 * at(found, part):,.0f}" for part in (0.5, 0.95, 0.99)), f"{len(found):,}")
        for name, found in front.seconds.items()
    )
    paces = tuple((name, f"{pace:,.0f}") for name, pace in front.paces.items())
    floods = tuple(_flood_row(each, found) for each, found in front.floods.items())
    return [
        ratio_grid(ratios(front)),
        Grid(f"Times at the front, ms, with {front.stored:,} evaluations in the store", _TIMES, times),
        Grid("Floods of requests", _FLOOD, floods),
        Grid("Paces at the front", ("", "evaluations/s"), paces),
    ]


def _accepted(found: Flood, each: int) -> float:
    return each * found.taken / found.seconds


def _flood_row(each: int, found: Flood) -> tuple[str, ...]:
    times = (f"{1000 * each:,.0f}" for each in (found.p50, found.p95, found.p99))
    failed = found.refused + found.errors
    return str(each), str(FLOODS[each]), f"{_accepted(found, each):,.0f}", *times, str(failed)


_FLOOD = (
    "evaluations in a request",
    "connections",
    "evaluations/s",
    "p50, ms",
    "p95, ms",
    "p99, ms",
    "failed",
)
_TIMES = ("", "p50", "p95", "p99", "asked")


def at(values: Sequence[float], part: float) -> float:
    """The value at that part of ``values`` in order, by nearest rank."""
    ordered = sorted(values)
    return ordered[max(ceil(part * len(ordered)) - 1, 0)]


async def _fill(url: str, number: int) -> None:
    """Put ``number`` settled evaluations of an old sweep into a store; every hundredth is a mismatch."""
    store = await Store.open(url)
    try:
        sweep_id = new_sweep_id()
        await store.begin_sweep(sweep_id, {})
        for start in range(0, number, _CHUNK):
            numbers = range(start, min(start + _CHUNK, number))
            ids, old = new_evaluation_ids(len(numbers)), list(map(_old, numbers))
            await store.submit(list(map(Submission, ids, old, repeat(sweep_id))))
            await store.settle(list(map(_settled, ids, old, numbers)))
            await asyncio.sleep(0)
    finally:
        await store.close()


def _old(number: int) -> Evaluation:
    language = "ruby" if number % 1000 == 0 else "python"
    return Evaluation(id=f"old-{number}", language=language, code="print(1)\n" * 20, tags=("old",))


def _settled(evaluation_id: str, old: Evaluation, number: int) -> Comparison:
    if number % 100:
        return settled(evaluation_id, old.id, old.language, Classification.MATCH)
    mismatch = Classification.MISMATCH
    return settled(evaluation_id, old.id, old.language, mismatch, reruns=3, cause="0ld")
