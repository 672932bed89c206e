"""What a drill found, for people and for machines."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.table import Table

from bench.drill.faults import Fault
from crucible.rollout.stage import Stage


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: when it began, when the migration turned back and why, and how many answers it spoiled."""

    stage: Stage
    fault: Fault
    began_at: datetime
    turned_back_at: datetime
    reason: str
    spoiled: int

    @property
    def seconds(self) -> float:
        """Seconds from the fault to the way back."""
        return (self.turned_back_at - self.began_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Findings:
    """``wrong_before`` counts wrong answers given before a detector fired, ``wrong_after`` those after it.

    ``lost`` evaluations got no answer at all; ``faults_in_books`` is what verifying the log found.
    """

    strikes: tuple[Strike, ...]
    answered: int
    by_celery: int
    wrong_before: int
    wrong_after: int
    lost: tuple[str, ...]
    faults_in_books: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, nothing was wrong once a detector had fired, and the books hold."""
        return not (self.wrong_after or self.lost or self.faults_in_books)

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {
            **asdict(self),
            "strikes": [{**asdict(each), "seconds": each.seconds} for each in self.strikes],
            "ok": self.ok,
        }

    def table(self) -> Table:
        """The faults, a row each."""
        table = Table("stage", "fault", "rolled back after", "spoiled", "by", title="Migration drill")
        for each in self.strikes:
            by = each.reason.partition(", at evaluation")[0]
            table.add_row(each.stage, each.fault, f"{each.seconds:.2f} s", str(each.spoiled), by)
        return table

    def summary(self) -> str:
        """The rest, in a sentence."""
        books = "; ".join(self.faults_in_books) or "all of it follows from the raw pairs"
        return (
            f"{self.answered:,} evaluations answered, {self.by_celery:,} by Celery;"
            f" {len(self.lost):,} lost{': ' if self.lost else ''}{', '.join(self.lost)}.\n"
            f"Wrong answers: {self.wrong_before:,} before a detector fired, {self.wrong_after:,} after.\n"
            f"The log: {books}."
        )
