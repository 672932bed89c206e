"""The report of a sweep as one page that needs nothing but itself: no network, no script to be read."""

import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from jinja2 import Environment
from markupsafe import Markup, escape

from crucible.models import Classification, Comparison, SweepReport
from crucible.report import plot, sides, words
from crucible.report.diff import DiffLine
from crucible.report.templating import asset, environment
from crucible.report.visible import visible_text

OPEN_AT_FIRST = 3
"""How many mismatches are unfolded when the page opens."""

_NAMES = {"␍": "CR", "␊": "LF", "␀": "NUL"}
_SYMBOL = re.compile(r"(\\x[0-9a-f]{2}|[·→␍␊␀]|⟨[0-9,]+ bytes⟩)")


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
    style, script = asset("palette.css", "report.css", "plot.css"), asset("report.js")
    return (
        _environment()
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


def _environment() -> Environment:
    made = environment()
    made.filters |= {
        "visible": visible_text,
        "symbols": _symbols,
        "changed": _changed,
        "seconds": words.seconds,
        "many": words.many,
        "moment": _moment,
    }
    made.globals |= {"words": words, "sides": sides, "drawing": plot}
    return made


def _hash(inline: str) -> str:
    """The hash by which the page's own policy lets this one inline element work, and no other."""
    return "sha256-" + b64encode(sha256(inline.encode()).digest()).decode()


def _symbols(text: str) -> Markup:
    """Safe text with what stands for unseen bytes set apart."""
    return Markup().join(
        _symbol(part) if index % 2 else escape(part) for index, part in enumerate(_SYMBOL.split(text))
    )


def _symbol(symbol: str) -> Markup:
    """One symbol; those that many fonts lack carry the name that the style sheet draws instead."""
    if symbol in _NAMES:
        return Markup('<i data-name="{}">{}</i>').format(_NAMES[symbol], symbol)
    return Markup("<i>{}</i>").format(symbol)


def _changed(line: DiffLine) -> Markup:
    """The text of a line of a diff, the part that differs from its counterpart marked."""
    start, end = line.changed
    if start == end:
        return _symbols(line.text)
    parts = (line.text[:start], line.text[start:end], line.text[end:])
    before, between, after = (_symbols(part) for part in parts)
    return before + Markup("<mark>{}</mark>").format(between) + after


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%-d %B %Y, %H:%M:%S UTC")
