"""Delta debugging: what of a sequence is needed for it to stay interesting.

Source: A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE Transactions on
Software Engineering 28 (2002), the algorithm ddmin. Unlike there, several candidates are asked at once, for
one question here is a whole flow run, and the first interesting one of them is taken. Single chunks are not
asked about, and after a success the round goes on where it is: both save questions, and neither is needed for
the result to be minimal.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

Interesting = Callable[[Sequence[tuple[T, ...]]], Awaitable[Sequence[bool]]]
"""Says of each of several candidates whether it is interesting, in their order."""

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Minimised(Generic[T]):
    """What is left. ``asked`` counts the candidates that the predicate was given.

    ``minimal`` says that nothing can be left out any more, item by item; it is false when the cap came first.
    """

    items: tuple[T, ...]
    asked: int
    minimal: bool


async def minimise(
    items: Sequence[T], interesting: Interesting[T], *, at_most: int, at_once: int = AT_ONCE
) -> Minimised[T]:
    """A subsequence of ``items`` that is interesting and, where ``at_most`` candidates suffice, minimal.

    ``items`` themselves are taken to be interesting and never asked about. Up to ``at_once`` candidates are
    asked together, and no candidate is asked about twice. A predicate that changes its mind makes the result
    no worse than what it last called interesting. Raises what the predicate raises.
    """
    oracle = _Oracle(interesting, at_most, at_once)
    current = tuple(items)
    if current and await oracle.first(iter([()])) is not None:
        return Minimised((), oracle.asked, minimal=True)
    parts, start = 2, 0
    while current and not oracle.is_spent:
        parts = min(parts, len(current))
        found = await oracle.first(_rests(current, parts, start))
        if found is not None:
            # What comes after the chunk that went has not been looked at yet.
            start = (start + oracle.place) % parts
            parts, current = max(parts - 1, 2), found
        elif parts == len(current):
            break
        else:
            parts, start = 2 * parts, 0
    return Minimised(current, oracle.asked, minimal=not oracle.is_spent)


def _rests(current: tuple[T, ...], parts: int, start: int) -> Iterator[tuple[T, ...]]:
    """All but one of ``parts`` chunks, for each of them from number ``start`` on and round to it again."""
    for number in (*range(start, parts), *range(start)):
        first, last = (len(current) * each // parts for each in (number, number + 1))
        yield current[:first] + current[last:]


class _Oracle(Generic[T]):
    """The predicate with a memory and a cap."""

    def __init__(self, interesting: Interesting[T], at_most: int, at_once: int) -> None:
        self._interesting = interesting
        self._at_most = at_most
        self._at_once = at_once
        self._known: dict[tuple[T, ...], bool] = {}
        self.asked = 0
        self.is_spent = False
        self.place = 0
        """Where among the candidates the last interesting one was."""

    async def first(self, candidates: Iterator[tuple[T, ...]]) -> tuple[T, ...] | None:
        """The first interesting one; null when there is none, or no more may be asked."""
        self.place = 0
        while wave := list(islice(candidates, self._at_once)):
            await self._learn(wave)
            for each in wave:
                if self._known.get(each, False):
                    return each
                self.place += 1
            if self.is_spent:
                return None
        return None

    async def _learn(self, wave: Sequence[tuple[T, ...]]) -> None:
        new = [each for each in dict.fromkeys(wave) if each not in self._known]
        room = self._at_most - self.asked
        self.is_spent |= len(new) > room
        if new := new[:room]:
            self.asked += len(new)
            answers = await self._interesting(new)
            self._known.update(zip(new, answers, strict=True))
