"""The spans of one evaluation on one time axis, the legs below each other, and step by step side by side."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import floor, log10

from jinja2 import Template
from markupsafe import Markup

from crucible.models import LEGS
from crucible.report import words
from crucible.report.plot import Mark
from crucible.report.reading import reading_environment
from crucible.telemetry.otlp import SpanRecord

WIDTH, LEFT, RIGHT = 960, 250, 12
TOP, ROW, BAR = 26, 24, 14
MOST_ROWS = 300

_STEPS = (
    *("enqueue", "queue wait", "claim", "execute"),
    *("slot wait", "compile", "sandbox run", "report", "reply"),
)
_CLOCKS_AGREE_US = 1_500
"""Some times travel in whole milliseconds; a child may seem to begin so much before its parent."""
_PASSES = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One span. ``x`` and ``width`` are in units of the drawing; ``at_s`` counts from the first span.

    ``shifted_s`` is by how much it was moved, since its process's clock is behind; ``marks`` are its events.
    """

    name: str
    service: str
    leg: str | None
    depth: int
    run: int
    x: float
    width: float
    at_s: float
    duration_s: float
    shifted_s: float
    fault: str | None
    notes: tuple[str, ...]
    marks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together: what both legs have in common, or what one of them did."""

    title: str
    leg: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step on both legs: seconds in all, null where it was not seen."""

    name: str
    seconds: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Everything the drawing needs; the template adds no arithmetic but line by line."""

    groups: tuple[Group, ...]
    steps: tuple[Step, ...]
    ticks: tuple[Mark, ...]
    total_s: float
    left_out: int
    shifted: tuple[str, ...]


def waterfall(spans: Sequence[SpanRecord]) -> Waterfall:
    """Lay spans out. Of more than three hundred the first are shown.

    Hosts' clocks may differ: where a span begins before its parent in another process, all spans of its
    process are moved by what is needed.
    """
    tree = _Tree(spans)
    shifts = tree.shifts()
    begin, end = tree.extent(shifts)
    scale = _Scale(begin, max(end - begin, 1))
    rows = [_row(each, tree, shifts, scale) for each in tree.in_order()]
    shown = rows[:MOST_ROWS]
    by_leg = {leg: tuple(row for row in shown if row.leg == leg) for leg in LEGS}
    both = tuple(row for row in shown if row.leg not in LEGS)
    groups = (
        Group("Both legs", None, both),
        *(Group(f"{leg.capitalize()} leg", leg, found) for leg, found in by_leg.items()),
    )
    return Waterfall(
        groups=tuple(group for group in groups if group.rows),
        steps=tuple(_steps(rows)),
        ticks=tuple(_ticks(scale)),
        total_s=scale.length / 1e6,
        left_out=len(rows) - len(shown),
        shifted=tuple(sorted(name for name, shift in shifts.items() if shift)),
    )


def waterfall_html(spans: Sequence[SpanRecord]) -> Markup:
    """The waterfall as a fragment for a page: steps, a drawing, and a table of the same figures.

    Every text in it is made visible and escaped. Its classes are styled by ``waterfall.css``.
    """
    found = _template().render(
        fall=waterfall(spans),
        legs=LEGS,
        drawing={"width": WIDTH, "left": LEFT, "top": TOP, "row": ROW, "bar": BAR},
    )
    return Markup(found)  # noqa: S704 (the template escapes what is not its own)


@cache
def _template() -> Template:
    return reading_environment().get_template("_waterfall.html.jinja")


@dataclass(frozen=True, slots=True)
class _Scale:
    """Microseconds into units of the drawing."""

    begin: int
    length: int

    def x(self, at: float) -> float:
        share = (at - self.begin) / self.length
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)


class _Tree:
    """Spans by what they are below; one whose parent is not known is at the top."""

    def __init__(self, spans: Iterable[SpanRecord]) -> None:
        self._spans = {each.span_id: each for each in sorted(spans, key=lambda each: each.started_us)}
        self._below: dict[str, list[SpanRecord]] = defaultdict(list)
        self._tops: list[SpanRecord] = []
        for each in self._spans.values():
            parent = self.parent(each)
            (self._tops if parent is None else self._below[parent.span_id]).append(each)

    def parent(self, span: SpanRecord) -> SpanRecord | None:
        """The span above; null at the top."""
        return self._spans.get(span.parent_id or "") if span.parent_id != span.span_id else None

    def above(self, span: SpanRecord) -> list[SpanRecord]:
        """All spans above, the nearest first."""
        found: list[SpanRecord] = []
        while (parent := self.parent(span)) is not None and parent not in found:
            found.append(parent)
            span = parent
        return found

    def in_order(self) -> list[tuple[SpanRecord, int]]:
        """Each span and how deep it is, below its parent, by time."""
        found: list[tuple[SpanRecord, int]] = []
        waiting = [(top, 0) for top in reversed(self._tops)]
        while waiting:
            span, depth = waiting.pop()
            found.append((span, depth))
            waiting += [(each, depth + 1) for each in reversed(self._below[span.span_id])]
        return found

    def shifts(self) -> dict[str, int]:
        """By how many µs the spans of each service are to be moved."""
        found: dict[str, int] = defaultdict(int)
        for _ in range(_PASSES):  # a service may be below one that is moved itself
            for span in self._spans.values():
                parent = self.parent(span)
                if parent is None or parent.service == span.service:
                    continue
                needed = parent.started_us + found[parent.service] - span.started_us
                if needed - found[span.service] > _CLOCKS_AGREE_US:
                    found[span.service] = needed
        return found

    def extent(self, shifts: Mapping[str, int]) -> tuple[int, int]:
        """From the first beginning to the last end."""
        begins = [each.started_us + shifts.get(each.service, 0) for each in self._spans.values()]
        ends = [begin + each.duration_us for begin, each in zip(begins, self._spans.values(), strict=True)]
        return min(begins, default=0), max(ends, default=0)


def _row(placed: tuple[SpanRecord, int], tree: _Tree, shifts: Mapping[str, int], scale: _Scale) -> Row:
    span, depth = placed
    above = tree.above(span)
    runs = (each.attributes.get("run") for each in (span, *above))
    shift = shifts.get(span.service, 0)
    begin = span.started_us + shift
    left = scale.x(begin)
    return Row(
        name=span.name,
        service=span.service,
        leg=span.leg,
        depth=depth,
        run=int(next((run for run in runs if isinstance(run, int)), 0)),
        x=left,
        width=max(round(scale.x(begin + span.duration_us) - left, 1), 1.5),
        at_s=(begin - scale.begin) / 1e6,
        duration_s=span.duration_us / 1e6,
        shifted_s=shift / 1e6,
        fault=span.status,
        notes=tuple(_notes(span)),
        marks=tuple(scale.x(event.at_us + shift) for event in span.events),
    )


def _notes(span: SpanRecord) -> Iterable[str]:
    for name in ("outcome", "executor", "state", "classification"):
        if name in span.attributes:
            yield f"{name} {span.attributes[name]}"
    for event in span.events:
        reason = event.attributes.get("reason") or event.attributes.get("cause")
        yield f"{event.name}: {reason}" if reason else event.name
    for link in span.links:
        yield f"{link.why or 'linked to'} (span {link.span_id})"


def _steps(rows: Sequence[Row]) -> Iterable[Step]:
    """Seconds by step of the first run, what was done more than once added up."""
    spent: dict[tuple[str, str | None], float] = defaultdict(float)
    for row in rows:
        if row.run == 0:
            spent[row.name, row.leg] += row.duration_s
    for name in _STEPS:
        seconds: dict[str, float | None] = {leg: spent.get((name, leg)) for leg in LEGS}
        if any(each is not None for each in seconds.values()):
            yield Step(name, seconds)


def _ticks(scale: _Scale) -> Iterable[Mark]:
    rough = scale.length / 1e6 / 6
    magnitude = 10.0 ** floor(log10(rough))
    every = next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= rough)
    number = 0
    while number * every <= scale.length / 1e6:
        at = number * every
        yield Mark(scale.x(scale.begin + at * 1e6), words.seconds(at) if at else "0")
        number += 1
