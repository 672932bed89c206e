"""A comparison as Markdown, for Prefect's pages. What a program printed can be read there, and no more."""

import re

from crucible.models import Comparison
from crucible.report import words
from crucible.report.sides import Row, Stream, rows, streams
from crucible.report.visible import Excerpt
from flows.links import linked

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


def render_comparison(comparison: Comparison, page: str | None) -> str:
    """Both legs side by side, then their streams; ``page`` is where more is told, if anywhere."""
    parts = [
        f"# {comparison.classification.value.capitalize().replace('_', ' ')}",
        linked(f"Evaluation {comparison.evaluation_id}", page),
        f"Answered by {comparison.answered_by}." if comparison.answered_by else "",
        "" if comparison.legacy and comparison.celery else _plain(words.reason_missing(comparison)),
        _table(rows(comparison)),
        *(_stream(each) for each in streams(comparison) if not each.silent),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(facts: tuple[Row, ...]) -> str:
    lines = [
        f"| {mark} | {each.label} | {_plain(each.legacy)} | {_plain(each.celery)} |"
        for each in facts
        for mark in ("**differs**" if each.differs else "",)
    ]
    return "\n".join(["| | | legacy | celery |", "| --- | --- | --- | --- |", *lines])


def _stream(stream: Stream) -> str:
    if stream.diff:
        lines = "\n".join(f"{each.kind}{each.text}" for each in stream.diff)
        return f"## {stream.name} differs\n\n{_fenced(lines, 'diff')}"
    side = stream.legacy or stream.celery
    return f"## {stream.name}\n\n{_excerpt(side)}" if side else ""


def _excerpt(excerpt: Excerpt) -> str:
    more = f"\n\n{words.many(excerpt.more, 'more line')}" if excerpt.more else ""
    return _fenced("\n".join(excerpt.lines)) + more


def _fenced(text: str, language: str = "") -> str:
    """A block that nothing in ``text`` can end."""
    longest = max((len(each) for each in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)
