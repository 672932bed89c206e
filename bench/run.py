"""The benchmark told top to bottom: a fresh stack, three contenders by turns, then sweeps of growing size."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from bench.corpus import algorithms, nothing, write_corpus
from bench.figures import ContenderName, Figures, Measured, Ratio, ratios
from bench.lineup import Lineup
from bench.machine import describe_machine
from bench.measure import Contender, measure
from crucible.errors import PlatformError
from crucible.settings import Settings
from deployments.stack import running_stack

Say = Callable[[str], None]

_WARM_UP = 24


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured; a size thrice, or less where that is above ``each_size`` evaluations."""

    rounds: int
    algorithms: int
    nothing: int
    sizes: tuple[int, ...]
    each_size: int = 1500


FULL = Extent(rounds=3, algorithms=800, nothing=800, sizes=(100, 500, 1000, 5000))
QUICK = Extent(rounds=3, algorithms=200, nothing=200, sizes=(100, 500))


@dataclass(frozen=True, slots=True)
class Bench:
    """What one benchmark found, and where: ``facts`` are those without which figures say nothing."""

    facts: dict[str, str]
    figures: Figures
    ratios: list[Ratio]


async def run(settings: Settings, extent: Extent, say: Say) -> Bench:
    """Measure on a stack of its own, which is gone afterwards; minutes. Raises ``PlatformError``."""
    facts = describe_machine()
    with _folder() as folder:
        say("starting a stack")
        started = time.monotonic()
        async with running_stack(settings.model_copy(update={"home": folder / "home"})) as state:
            facts["stack ready after"] = f"{time.monotonic() - started:.1f} s"
            lineup = Lineup(state, folder)
            facts["sandbox"] = await lineup.isolation_level()
            by_turns = _Rounds(lineup, folder, extent, say)
            figures = Figures(
                algorithms=await by_turns.measure("algorithms", algorithms(), extent.algorithms, _EVERYBODY),
                nothing=await by_turns.measure("nothing", nothing(), extent.nothing, ("chord", "sweep")),
                sizes=await _sizes(lineup, folder, extent, say),
            )
    facts["CPU taken by others"] = f"{figures.others_share:.0%}"
    return Bench(facts, figures, ratios(figures))


@contextmanager
def _folder() -> Iterator[Path]:
    """A new folder, removed afterwards; after a fault of the platform it stays, for the logs in it."""
    folder = Path(mkdtemp(prefix="crucible-bench-"))
    try:
        yield folder
    except PlatformError as error:
        raise PlatformError(f"{error} (logs are in {folder})") from error
    except BaseException:
        rmtree(folder)
        raise
    rmtree(folder)


_EVERYBODY: tuple[ContenderName, ...] = ("bare", "chord", "sweep")


@dataclass(frozen=True)
class _Rounds:
    lineup: Lineup
    folder: Path
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
                await _measure_over(contender, self.folder, programs, _WARM_UP)
            for number in range(1, self.extent.rounds + 1):
                for contender in contenders:
                    self.say(f"{what}, round {number} of {self.extent.rounds}: {contender.name}")
                    found[contender.name].append(await _measure_over(contender, self.folder, programs, size))
        return found


async def _sizes(lineup: Lineup, folder: Path, extent: Extent, say: Say) -> dict[int, list[Measured]]:
    """Sweeps of programs that do nothing, each in a fresh process: its memory tells of one sweep alone."""
    found: dict[int, list[Measured]] = {}
    for size in extent.sizes:
        found[size] = []
        for _ in range(max(1, min(3, extent.each_size // size))):
            say(f"sweep of {size:,} that do nothing")
            async with lineup.sweep() as contender:
                await _measure_over(contender, folder, nothing(), _WARM_UP)
                found[size].append(await _measure_over(contender, folder, nothing(), size))
    return found


async def _measure_over(contender: Contender, folder: Path, programs: Sequence[str], size: int) -> Measured:
    corpus = folder / "corpus.jsonl"
    write_corpus(corpus, programs, size)
    return await measure(contender, corpus, size)
