"""What templates need to show comparisons to people: filters that make bytes from outside safe to read."""

import re
from datetime import UTC, datetime
from importlib.resources import files

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from crucible.report import plot, sides, words
from crucible.report.visible import DiffLine, visible_text


def environment(*loaders: BaseLoader) -> Environment:
    """Templates of this package and, before them, of ``loaders``: what is not marked as safe is escaped."""
    return Environment(
        loader=ChoiceLoader([*loaders, PackageLoader("crucible.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(*names: str) -> Markup:
    """The files of these names beside the templates, one after the other, to be put in as they are."""
    folder = files("crucible.report") / "templates"
    # What is marked as safe is a file of our own.
    return Markup("".join((folder / name).read_text("utf-8") for name in names))  # noqa: S704


_NAMES = {"␍": "CR", "␊": "LF", "␀": "NUL"}
_SYMBOL = re.compile(r"(\\x[0-9a-f]{2}|[·→␍␊␀]|⟨[0-9,]+ bytes⟩)")


def reading_environment(*loaders: BaseLoader) -> Environment:
    """The report's templates and, before them, those of ``loaders``, with all that they use."""
    made = environment(*loaders)
    made.filters |= {
        "visible": visible_text,
        "symbols": _symbols,
        "changed": _changed,
        "seconds": words.seconds,
        "many": words.many,
        "moment": moment,
    }
    made.globals |= {"words": words, "sides": sides, "drawing": plot}
    return made


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


def moment(moment: datetime) -> str:
    """A moment for people, in UTC."""
    return moment.astimezone(UTC).strftime("%-d %B %Y, %H:%M:%S UTC")
