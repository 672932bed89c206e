"""The geometry of the latency plot: one histogram upwards for legacy, one downwards for Celery.

Both share a logarithmic axis, so that equal shapes mirror each other and a shift shows at once.
"""

from dataclasses import dataclass
from math import ceil, floor, log10

from crucible.models import LEGS, Leg
from crucible.models.sweep import LatencySummary
from crucible.report import words
from crucible.report.summary import RATIO

WIDTH, HEIGHT = 880, 330
LEFT, RIGHT, TOP = 64, 16, 22
HALF = 125
AXIS = TOP + HALF
_FEW_DECADES = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin of a histogram, in units of the drawing, with a title that says its numbers."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled position on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Half:
    """One leg's half of the plot. ``median`` and ``p95`` are positions along the time axis."""

    leg: Leg
    bars: tuple[Bar, ...]
    median: Mark
    p95: Mark
    summary: str


@dataclass(frozen=True, slots=True)
class LatencyPlot:
    """Everything the drawing needs; the template adds no arithmetic."""

    halves: tuple[Half, ...]
    times: tuple[Mark, ...]
    counts: tuple[Mark, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """Seconds and runs into units of the drawing."""

    low: float
    high: float
    most: int

    def x(self, seconds: float) -> float:
        share = (log10(max(seconds, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def height(self, number: int) -> float:
        return round(HALF * number / self.most, 1)


def latency_plot(latency: dict[str, LatencySummary]) -> LatencyPlot | None:
    """The plot of the legs that ran anything; null when none did."""
    shown = {leg: latency[leg] for leg in LEGS if leg in latency and latency[leg].count}
    if not shown:
        return None
    scale = _scale(list(shown.values()))
    halves = tuple(_half(leg, summary, scale) for leg, summary in shown.items())
    return LatencyPlot(
        halves=halves,
        times=_times(scale),
        counts=_counts(scale),
        summary=" ".join(half.summary for half in halves),
    )


def _scale(summaries: list[LatencySummary]) -> _Scale:
    low = min(summary.histogram[0][0] for summary in summaries) / RATIO
    high = max(summary.max_s for summary in summaries)
    most = max(number for summary in summaries for _, number in summary.histogram)
    low = max(low, 1e-6)
    return _Scale(low=low / RATIO, high=max(high, low) * RATIO, most=most)


def _half(leg: Leg, summary: LatencySummary, scale: _Scale) -> Half:
    bars = []
    before = summary.histogram[0][0] / RATIO
    for bound, number in summary.histogram:
        if number:
            bars.append(_bar(leg, scale, before, bound, number))
        before = bound
    return Half(
        leg=leg,
        bars=tuple(bars),
        median=Mark(scale.x(summary.p50_s), f"half within {words.seconds(summary.p50_s)}"),
        p95=Mark(scale.x(summary.p95_s), f"95 % within {words.seconds(summary.p95_s)}"),
        summary=(
            f"{leg.capitalize()}: {words.many(summary.count, 'run')}, median {words.seconds(summary.p50_s)}, "
            f"95 % within {words.seconds(summary.p95_s)}, longest {words.seconds(summary.max_s)}."
        ),
    )


def _bar(leg: Leg, scale: _Scale, before: float, bound: float, number: int) -> Bar:
    left, height = scale.x(before), max(scale.height(number), 1.0)
    return Bar(
        x=left,
        y=round(AXIS - height, 1) if leg == "legacy" else AXIS,
        width=round(max(scale.x(bound) - left, 2.0), 1),
        height=height,
        title=f"{leg}: {words.many(number, 'run')} up to {words.seconds(bound)}",
    )


def _times(scale: _Scale) -> tuple[Mark, ...]:
    decades = range(floor(log10(scale.low)), ceil(log10(scale.high)) + 1)
    steps = (1, 2, 5) if log10(scale.high / scale.low) <= _FEW_DECADES else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return tuple(
        Mark(scale.x(tick), words.seconds(tick)) for tick in ticks if scale.low <= tick <= scale.high
    )


def _counts(scale: _Scale) -> tuple[Mark, ...]:
    """The zero line, and a round number of runs on either side of it."""
    magnitude = 10 ** floor(log10(scale.most))
    number = max(step * magnitude for step in (1, 2, 5) if step * magnitude <= scale.most)
    height = scale.height(number)
    label = f"{number:,}"
    return (Mark(AXIS - height, label), Mark(AXIS, "0"), Mark(AXIS + height, label))
