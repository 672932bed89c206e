"""Whether anything has grown: what was held in the last third of the time beside the second."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from tests.soak.samples import Held, Sample

_LARGER_BY = 1.25
_SLACK = {
    "memory, MiB": 40.0,
    "files": 24.0,
    "processes": 12.0,
    "keys": 2000.0,
    "disk, MiB": 4.0,
    "number": 4.0,
}
"""What may come and go: caches that fill, connections, programs under way, keys that have not run out yet."""

_OF_SERVICE: dict[str, Callable[[Held], float]] = {
    "memory, MiB": lambda held: held.memory_mb,
    "files": lambda held: held.files,
    "processes": lambda held: held.processes,
}
_FEWEST = 9
"""Looks at one life of a service that say something about it."""

_MAY_GROW = {"prefect", "logs"}
"""What others are to bound: Prefect's own retention, whoever turns the logs over."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of something over the second third of the looks at it, and over the last."""

    who: str
    what: str
    before: float
    after: float

    @property
    def is_too_much(self) -> bool:
        """Whether it is more than what comes and goes."""
        return self.who not in _MAY_GROW and self.after > _LARGER_BY * self.before + _SLACK[self.what]


def growth(samples: Sequence[Sample]) -> Iterator[Growth]:
    """Everything that was looked at: a service in its longest life, the rest in all the time.

    The first third is for warming up.
    """
    for name in sorted({name for each in samples for name in each.services}):
        life = _longest_life([each.services[name] for each in samples if name in each.services])
        for what, figure in _OF_SERVICE.items():
            yield from _grown(name, what, [figure(each) for each in life])
    for name in sorted({name for each in samples for name in each.keys}):
        yield from _grown(name, "keys", [float(each.keys[name]) for each in samples if name in each.keys])
    for name in samples[0].stores:
        yield from _grown(name, "disk, MiB", [each.stores[name] for each in samples])
    yield from _grown("containers", "number", [float(each.containers) for each in samples])


def _longest_life(looks: Sequence[Held]) -> list[Held]:
    return max((list(life) for _, life in groupby(looks, lambda held: held.pid)), key=len)


def _grown(who: str, what: str, figures: Sequence[float]) -> Iterator[Growth]:
    third = len(figures) // 3
    if len(figures) >= _FEWEST:
        yield Growth(who, what, median(figures[third : 2 * third]), median(figures[2 * third :]))
