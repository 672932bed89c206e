"""Mismatches grouped by cause."""

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crucible.errors import InputError
from crucible.fingerprints.fingerprint import fingerprint
from crucible.models import Cause, Classification, Comparison


def causes(comparisons: Iterable[Comparison]) -> tuple[Cause, ...]:
    """The causes of the mismatches among ``comparisons``, the commonest first, then by digest."""
    tally = CauseTally()
    for comparison in comparisons:
        tally.add(comparison)
    return tally.causes()


async def causes_of_pages(
    page: Callable[[str], Awaitable[Sequence[Comparison]]], most: float = math.inf
) -> tuple[Cause, ...]:
    """The causes of all that ``page`` returns after an id, page by page; stops after ``most`` of them."""
    tally, after_id, examined = CauseTally(), "", 0
    while examined < most and (found := await page(after_id)):
        for comparison in found:
            tally.add(comparison)
        after_id, examined = found[-1].evaluation_id, examined + len(found)
    return tally.causes()


class CauseTally:
    """Mismatches as they come, grouped; keeps no comparison."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def add(self, comparison: Comparison) -> None:
        """Count ``comparison`` for its cause; what is no mismatch is passed over."""
        if comparison.classification is not Classification.MISMATCH:
            return
        if (found := fingerprint(comparison)) is not None:
            self._groups.setdefault(found.digest, _Group(found.summary)).add(comparison)

    def causes(self) -> tuple[Cause, ...]:
        """The causes so far, the commonest first, then by digest."""
        made = (group.cause(digest) for digest, group in self._groups.items())
        return tuple(sorted(made, key=lambda cause: (-cause.count, cause.digest)))


@dataclass(slots=True)
class _Group:
    summary: str
    lengths: dict[str, int] = field(default_factory=dict)
    languages: set[str] = field(default_factory=set)

    def add(self, comparison: Comparison) -> None:
        self.lengths[comparison.evaluation_id] = _length(comparison)
        self.languages.add(comparison.language)

    def cause(self, digest: str) -> Cause:
        return Cause(
            digest=digest,
            summary=self.summary,
            count=len(self.lengths),
            example=min(self.lengths, key=lambda key: (self.lengths[key], key)),
            first=min(self.lengths),
            last=max(self.lengths),
            languages=tuple(sorted(self.languages)),
        )


def _length(comparison: Comparison) -> int:
    sides = (comparison.legacy, comparison.celery)
    return sum(len(side.stdout_b64) + len(side.stderr_b64) for side in sides if side is not None)


def unseen(counts: Mapping[str, int], pairs: int) -> float:
    """The probability that the next pair shows a cause not in ``counts``: causes seen once over all pairs.

    ``counts`` has the mismatches by digest among ``pairs`` compared evaluations; without a pair the answer
    is 1. It holds for evaluations drawn like those seen; of programs unlike all of them nothing is known.
    Raises ``InputError`` for counts that cannot be.

    Source: I. J. Good, "The population frequencies of species and the estimation of population parameters",
    Biometrika 40 (1953), who has the idea from A. M. Turing.
    """
    if any(number < 0 for number in counts.values()) or sum(counts.values()) > pairs:
        raise InputError(f"{sum(counts.values())} mismatches cannot be among {pairs} pairs; count both alike")
    return sum(number == 1 for number in counts.values()) / pairs if pairs else 1.0
