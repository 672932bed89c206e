"""One comparison, laid out for reading: a row for each fact, and the two streams."""

from dataclasses import dataclass

from crucible.models import Comparison, Field, Observation
from crucible.report import words
from crucible.report.visible import MAX_LINES, DiffLine, Excerpt, excerpt, unified_diff, visible_text

ABSENT = "no answer"
EXCERPT_LINES = 24

_LABELS = {
    Field.OUTCOME: "outcome",
    Field.EXIT_CODE: "exit code",
    Field.SIGNAL: "signal",
    Field.STDOUT: "stdout",
    Field.STDERR: "stderr",
}
_INFORMING = ("ran for", "CPU time", "memory peak", "executor", "isolation", "remark")


@dataclass(frozen=True, slots=True)
class Row:
    """One fact as both legs saw it. ``compared`` facts decide the classification; others only inform."""

    label: str
    legacy: str
    celery: str
    compared: bool
    differs: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """One output stream of both legs. ``diff`` is empty where they are equal or a side is missing."""

    name: str
    legacy: Excerpt | None
    celery: Excerpt | None
    diff: tuple[DiffLine, ...]

    @property
    def same(self) -> bool:
        """Whether both sides are there and equal."""
        return self.legacy is not None and self.celery is not None and not self.diff

    @property
    def silent(self) -> bool:
        """Whether nobody wrote anything to it."""
        return not any(side and side.lines for side in (self.legacy, self.celery))


def rows(comparison: Comparison) -> tuple[Row, ...]:
    """The compared facts in reading order, then what else is known of each leg."""
    different = {_LABELS[difference.field] for difference in comparison.differences}
    legacy, celery = (
        {} if side is None else _compared(side) | _informing(side)
        for side in (comparison.legacy, comparison.celery)
    )
    return tuple(
        Row(
            label=label,
            legacy=legacy.get(label, ABSENT),
            celery=celery.get(label, ABSENT),
            compared=label in _LABELS.values(),
            differs=label in different,
        )
        for label in (*_LABELS.values(), *_INFORMING)
        if legacy.get(label) or celery.get(label)
    )


def streams(comparison: Comparison, max_lines: int = MAX_LINES) -> tuple[Stream, Stream]:
    """Standard output and standard error of both legs, with their difference."""
    sides = (comparison.legacy, comparison.celery)
    return (
        _stream("stdout", *(None if side is None else side.stdout for side in sides), max_lines=max_lines),
        _stream("stderr", *(None if side is None else side.stderr for side in sides), max_lines=max_lines),
    )


def differing_fields(comparison: Comparison) -> str:
    """The names of the fields that differ, in reading order."""
    return ", ".join(_LABELS[difference.field] for difference in comparison.differences)


def _compared(side: Observation) -> dict[str, str]:
    values = (
        side.outcome.value,
        "none" if side.exit_code is None else str(side.exit_code),
        "none" if side.signal is None else visible_text(side.signal),
        _size(side.stdout, truncated=side.stdout_truncated),
        _size(side.stderr, truncated=side.stderr_truncated),
    )
    return dict(zip(_LABELS.values(), values, strict=True))


def _informing(side: Observation) -> dict[str, str]:
    values = (
        words.seconds(side.duration_s),
        words.seconds(side.cpu_s),
        f"{side.memory_peak_mb:.1f} MiB",
        visible_text(side.executor),
        visible_text(side.isolation_level),
        visible_text(side.detail or ""),
    )
    return dict(zip(_INFORMING, values, strict=True))


def _size(data: bytes, *, truncated: bool) -> str:
    return words.many(len(data), "byte") + (", cut off at the limit" if truncated else "")


def _stream(name: str, legacy: bytes | None, celery: bytes | None, *, max_lines: int) -> Stream:
    return Stream(
        name=name,
        legacy=None if legacy is None else excerpt(legacy, EXCERPT_LINES),
        celery=None if celery is None else excerpt(celery, EXCERPT_LINES),
        diff=() if legacy is None or celery is None else unified_diff(legacy, celery, max_lines),
    )
