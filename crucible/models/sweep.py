"""What a sweep found."""

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field

from crucible.models.comparison import Classification, Comparison
from crucible.models.frozen import Frozen

COLUMN_OF: dict[Classification | None, str] = {
    Classification.MATCH: "matched",
    Classification.MISMATCH: "mismatched",
    Classification.NONDETERMINISTIC: "nondeterministic",
    Classification.UNPAIRED: "unpaired",
    Classification.CANCELLED: "cancelled",
    Classification.NOT_SAMPLED: "not_sampled",
}
"""The field of ``Counts`` for each classification."""


class Verdict(StrEnum):
    """What the evidence of a sweep says."""

    PASS = "pass"  # noqa: S105 (a verdict, no password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Counts(Frozen):
    """The columns of the ledger; every submitted evaluation is in exactly one of the six.

    ``unexpected`` is a remark on matched ones, not a column.
    """

    submitted: int = 0
    matched: int = 0
    mismatched: int = 0
    nondeterministic: int = 0
    unpaired: int = 0
    cancelled: int = 0
    not_sampled: int = 0
    unexpected: int = 0

    @property
    def settled(self) -> int:
        """How many evaluations have found their column."""
        return (
            self.matched
            + self.mismatched
            + self.nondeterministic
            + self.unpaired
            + self.cancelled
            + self.not_sampled
        )

    @property
    def balanced(self) -> bool:
        """Whether the ledger adds up: submitted is the sum of the six columns."""
        return self.submitted == self.settled

    def with_settled(
        self, classification: Classification, *, unexpected: bool = False, number: int = 1
    ) -> Self:
        """These counts with ``number`` more evaluations in the column of ``classification``."""
        column = COLUMN_OF[classification]
        remarked = number if unexpected else 0
        return self.model_copy(
            update={column: getattr(self, column) + number, "unexpected": self.unexpected + remarked}
        )

    def with_submitted(self, number: int) -> Self:
        """These counts with ``number`` more evaluations submitted."""
        return self.model_copy(update={"submitted": self.submitted + number})


class LatencySummary(Frozen):
    """How long the programs of one leg ran, in seconds of wall time.

    ``histogram`` holds pairs of an upper bound in seconds and the number of runs at or below it
    and above the bound before (bounds grow by a constant ratio; the last bound is the longest run).
    """

    count: int
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float
    histogram: tuple[tuple[float, int], ...]


class Slowest(Frozen):
    """One of the slowest evaluations of a sweep."""

    name: str
    language: str
    legacy_s: float
    celery_s: float


class Cause(Frozen):
    """Mismatches with one fingerprint, whose ``digest`` it is; ``summary`` says in one line what it is.

    ``example`` is Crucible's id of the mismatch with the shortest output, mostly the easiest to read;
    ``first`` and ``last`` are the ids of those submitted first and last, ``languages`` all it was seen in.
    """

    digest: str
    summary: str
    count: int
    example: str
    first: str
    last: str
    languages: tuple[str, ...]


class SweepReport(Frozen):
    """Everything a report shows; what ``crucible sweep --json`` prints is a part of it.

    ``reasons`` are the sentences that led to the verdict, the weightiest first.
    ``mismatch_rate_upper`` is the exact upper bound on the rate of mismatches at ``confidence``
    (null when nothing was compared). ``details`` holds the comparisons worth reading (mismatches,
    unpaired, unexpected, nondeterministic), at most ``details_limit``; ``details_omitted`` counts the rest.
    ``causes`` groups the mismatches among them, the commonest cause first.
    ``skipped`` maps a language to the number of evaluations left out because nobody here runs it.
    """

    sweep_id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    counts: Counts
    mismatch_rate_upper: float | None
    confidence: float
    throughput_per_s: float
    duration_s: float
    started_at: datetime
    corpora: tuple[str, ...]
    flow_run_ids: tuple[str, ...]
    flow_run_urls: tuple[str, ...] = ()
    details: tuple[Comparison, ...] = ()
    details_limit: int = 200
    details_omitted: int = 0
    causes: tuple[Cause, ...] = ()
    slowest: tuple[Slowest, ...] = ()
    latency: dict[str, LatencySummary] = Field(default_factory=dict)
    skipped: dict[str, int] = Field(default_factory=dict)
    isolation_levels: tuple[str, ...] = ()
    languages: dict[str, str] = Field(default_factory=dict)
    duplicates_dropped: int = 0
    resent: int = 0
    crucible_version: str = ""
