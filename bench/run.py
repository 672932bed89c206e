"""The benchmark told top to bottom: a fresh stack, three contenders by turns, then sweeps of growing size."""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from bench.figures import ContenderName, Figures, Measured, describe_machine, ratios
from bench.measure import Lineup, algorithms, lineup_of_its_own, measure, nothing
from bench.tables import Report, grids
from crucible.settings import Settings

Say = Callable[[str], None]

_WARM_UP = 24
_EACH_SIZE = 1500


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured; a size thrice, or less where that is above ``_EACH_SIZE`` evaluations."""

    rounds: int
    algorithms: int
    nothing: int
    sizes: tuple[int, ...]


FULL = Extent(rounds=3, algorithms=800, nothing=800, sizes=(100, 500, 1000, 5000))
QUICK = Extent(rounds=3, algorithms=200, nothing=200, sizes=(100, 500))


_EVERYBODY: tuple[ContenderName, ...] = ("bare", "chord", "sweep")


async def report(settings: Settings, *, quick: bool, say: Say) -> Report:
    """Measure on a stack of its own, which is gone afterwards; minutes. Raises ``PlatformError``."""
    extent = QUICK if quick else FULL
    facts = describe_machine()
    say("starting a stack")
    started = time.monotonic()
    async with lineup_of_its_own(settings) as lineup:
        facts["stack ready after"] = f"{time.monotonic() - started:.1f} s"
        facts["sandbox"] = await lineup.isolation_level()
        by_turns = _Rounds(lineup, extent, say)
        figures = Figures(
            algorithms=await by_turns.measure("algorithms", algorithms(), extent.algorithms, _EVERYBODY),
            nothing=await by_turns.measure("nothing", nothing(), extent.nothing, ("chord", "sweep")),
            sizes=await _sizes(lineup, extent, say),
        )
    facts["CPU taken by others"] = f"{figures.others_share:.0%}"
    found = ratios(figures)
    document = {"figures": asdict(figures), "ratios": [asdict(each) for each in found]}
    return Report(facts, grids(figures, found), document)


@dataclass(frozen=True)
class _Rounds:
    lineup: Lineup
    extent: Extent
    say: Say

    async def measure(
        self, what: str, programs: Sequence[str], size: int, names: Sequence[ContenderName]
    ) -> dict[ContenderName, list[Measured]]:
        """Contender after contender, then again: what disturbs the machine disturbs all of them."""
        found: dict[ContenderName, list[Measured]] = {name: [] for name in names}
        async with AsyncExitStack() as stack:
            openers = {"bare": self.lineup.bare, "chord": self.lineup.chord, "sweep": self.lineup.sweep}
            contenders = [await stack.enter_async_context(openers[name]()) for name in names]
            for contender in contenders:
                self.say(f"{what}: warming up {contender.name}")
                await measure(contender, self.lineup.folder, programs, _WARM_UP)
            for number in range(1, self.extent.rounds + 1):
                for contender in contenders:
                    self.say(f"{what}, round {number} of {self.extent.rounds}: {contender.name}")
                    found[contender.name].append(await measure(contender, self.lineup.folder, programs, size))
        return found


async def _sizes(lineup: Lineup, extent: Extent, say: Say) -> dict[int, list[Measured]]:
    """Sweeps of programs that do nothing, each in a fresh process: its memory tells of one sweep alone."""
    found: dict[int, list[Measured]] = {}
    for size in extent.sizes:
        found[size] = []
        for _ in range(max(1, min(3, _EACH_SIZE // size))):
            say(f"sweep of {size:,} that do nothing")
            async with lineup.sweep() as contender:
                await measure(contender, lineup.folder, nothing(), _WARM_UP)
                found[size].append(await measure(contender, lineup.folder, nothing(), size))
    return found
