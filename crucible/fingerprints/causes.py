"""Mismatches grouped by cause."""

from collections.abc import Iterable

from crucible.fingerprints.fingerprint import Fingerprint, fingerprint
from crucible.models import Classification, Comparison
from crucible.models.frozen import Frozen


class Cause(Frozen):
    """A group of mismatches with one fingerprint.

    ``example`` is Crucible's id of the one whose output is shortest, which is mostly the easiest to read;
    ``languages`` are those in which the cause was seen.
    """

    digest: str
    summary: str
    count: int
    example: str
    languages: tuple[str, ...]


def causes(comparisons: Iterable[Comparison]) -> tuple[Cause, ...]:
    """The causes of the mismatches among ``comparisons``, the commonest first, then by digest."""
    groups: dict[str, list[tuple[Fingerprint, Comparison]]] = {}
    for comparison in comparisons:
        if comparison.classification is not Classification.MISMATCH:
            continue
        if (found := fingerprint(comparison)) is not None:
            groups.setdefault(found.digest, []).append((found, comparison))
    made = (_cause(digest, members) for digest, members in groups.items())
    return tuple(sorted(made, key=lambda cause: (-cause.count, cause.digest)))


def _cause(digest: str, members: list[tuple[Fingerprint, Comparison]]) -> Cause:
    example = min((comparison for _, comparison in members), key=_length)
    return Cause(
        digest=digest,
        summary=members[0][0].summary,
        count=len(members),
        example=example.evaluation_id,
        languages=tuple(sorted({comparison.language for _, comparison in members})),
    )


def _length(comparison: Comparison) -> int:
    sides = (comparison.legacy, comparison.celery)
    return sum(len(side.stdout_b64) + len(side.stderr_b64) for side in sides if side is not None)
