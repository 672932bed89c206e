"""The report of a sweep as one page that needs nothing but itself: no network, no script to be read."""

from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from crucible.models import Classification, Comparison, SweepReport
from crucible.report import plot, words
from crucible.report.reading import asset, reading_environment

OPEN_AT_FIRST = 3
"""How many mismatches are unfolded when the page opens."""


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of comparisons that ended in the same way."""

    anchor: str
    title: str
    explanation: str
    sign: str
    comparisons: tuple[Comparison, ...]
    open_first: int


def render_html(report: SweepReport) -> str:
    """The whole page. Everything that came from outside is made visible and escaped."""
    style, script = (
        asset("palette.css", "base.css", "comparison.css", "report.css", "plot.css"),
        asset("report.js"),
    )
    return (
        reading_environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            sections=sections(report),
            unpaired=words.grouped_by_reason(
                words.of_classification(report.details, Classification.UNPAIRED)
            ),
            plot=plot.latency_plot(report.latency),
            links=words.flow_run_links(report),
            finished_at=report.started_at + timedelta(seconds=report.duration_s),
        )
    )


def sections(report: SweepReport) -> tuple[Section, ...]:
    """The chapters of detailed comparisons that hold any, the weightiest first."""
    found = report.details
    chapters = (
        Section(
            "mismatched",
            "Mismatches",
            "The two legs gave different answers, and still did when run again.",
            "≠",
            words.of_classification(found, Classification.MISMATCH),
            OPEN_AT_FIRST,
        ),
        Section(
            "unexpected",
            "Unexpected",
            "The two legs agree with each other, and not with what the corpus expects.",
            "!",
            tuple(comparison for comparison in found if comparison.unexpected),
            0,
        ),
        Section(
            "nondeterministic",
            "Nondeterministic",
            "These programs vary by themselves, so a difference says nothing about the queues.",
            "~",
            words.of_classification(found, Classification.NONDETERMINISTIC),
            0,
        ),
    )
    return tuple(chapter for chapter in chapters if chapter.comparisons)


def _hash(inline: str) -> str:
    """The hash by which the page's own policy lets this one inline element work, and no other."""
    return "sha256-" + b64encode(sha256(inline.encode()).digest()).decode()
