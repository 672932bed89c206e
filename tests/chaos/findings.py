"""What was found after each fault, for people, machines and the document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_COLUMNS = (
    "fault",
    "lost",
    "duplicated",
    "recovered after (bound)",
    "in hand settled after",
    "unpaired",
    "run twice",
    "answers dropped",
    "ended with",
)
_WIDTHS = (38, 6, 12, 25, 23, 10, 11, 17, 20)


@dataclass(frozen=True)
class Row:
    """One fault. ``lost`` and ``duplicated`` are evaluations; seconds count from the end of the fault.

    ``in_hand_s`` is when the last evaluation was settled that a worker had in hand as it struck.
    ``faults`` is everything that must not be, in words. ``reasons`` are those of unpaired evaluations.
    """

    fault: str
    submitted: int
    lost: int
    duplicated: int
    recovered_s: float | None
    bound_s: float
    in_hand_s: float | None
    unpaired: int
    run_twice: int
    dropped: int
    ended: str
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    faults: Sequence[str] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def document(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self) | {"ok": self.ok}

    def cells(self) -> tuple[str, ...]:
        """As a line of the table."""
        recovered = "never" if self.recovered_s is None else f"{self.recovered_s:.1f} s"
        in_hand = "-" if self.in_hand_s is None else f"{self.in_hand_s:.1f} s"
        return (
            self.fault,
            str(self.lost),
            str(self.duplicated),
            f"{recovered} ({self.bound_s:g} s)",
            in_hand,
            str(self.unpaired),
            str(self.run_twice),
            str(self.dropped),
            self.ended,
        )


def heading() -> str:
    """The table's first line."""
    return _line(_COLUMNS)


def line(row: Row) -> str:
    """A row of the table, and below it what is wrong and why evaluations are unpaired."""
    wrong = [f"    wrong: {each}" for each in row.faults]
    reasons = [f"    unpaired, {number} times: {why}" for why, number in row.reasons.items()]
    return "\n".join([_line(row.cells()), *wrong, *reasons])


def summary(rows: Sequence[Row]) -> str:
    """All of it in a sentence."""
    return (
        f"{len(rows)} faults, {sum(row.submitted for row in rows):,} evaluations:"
        f" {sum(row.lost for row in rows)} lost, {sum(row.duplicated for row in rows)} duplicated;"
        f" {sum(not row.ok for row in rows)} faults after which something was wrong."
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table for the document."""
    ruler = ("---", *("---:" for _ in _COLUMNS[1:-1]), "---")
    return "\n".join(
        f"| {' | '.join(cells)} |" for cells in (_COLUMNS, ruler, *(row.cells() for row in rows))
    )


def _line(cells: Sequence[str]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
