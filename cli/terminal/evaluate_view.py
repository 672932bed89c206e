"""One comparison on the terminal."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.terminal.style import INDENT, LEG_STYLES, diff_lines, heading, plain_table
from crucible.models import Classification, Comparison, Observation
from crucible.report import sides, words
from crucible.report.visible import MISSING_END, Excerpt, excerpt, visible_text

_LINES = 60

_HEADLINES = {
    Classification.MATCH: ("✓ match: both legs gave the same answer", "bold green"),
    Classification.MISMATCH: ("✗ mismatch: the legs gave different answers", "bold red"),
    Classification.NONDETERMINISTIC: ("~ nondeterministic: the program varies by itself", "bold yellow"),
    Classification.UNPAIRED: ("∅ unpaired: there was no answer from one leg or both", "bold red"),
    Classification.CANCELLED: ("∅ cancelled before both legs had answered", "bold yellow"),
    Classification.NOT_SAMPLED: ("∅ not sampled: only one leg was asked", "bold yellow"),
}


def render_comparison(comparison: Comparison) -> RenderableType:
    """The classification first, then both sides, then what they printed."""
    return Group(*_parts(comparison))


def render_observation(seen: Observation) -> RenderableType:
    """What one sandbox saw of one program: how it ended, then what it printed."""
    ended = seen.signal or ("" if seen.exit_code is None else f"exit code {seen.exit_code}")
    facts = f"{seen.duration_s:.3f} s, {seen.cpu_s:.3f} s of CPU, {seen.memory_peak_mb:.1f} MiB"
    parts: list[RenderableType] = [
        Text(f"{seen.outcome}{f' ({ended})' if ended else ''}", style="bold"),
        Text(f"{facts}; {seen.executor}, {seen.isolation_level or 'not isolated, so not run'}", style="dim"),
    ]
    if seen.detail:
        parts.append(Text(visible_text(seen.detail), style="red"))
    for name, data in (("stdout", seen.stdout), ("stderr", seen.stderr)):
        if data:
            parts += [heading(name), _excerpt(excerpt(data, _LINES))]
    return Group(*parts)


def sides_table(comparison: Comparison, *, only_differing: bool = False) -> Table:
    """Both legs side by side, a row for each fact; ``≠`` marks what differs."""
    table = plain_table("", "", "legacy", "celery", numbers_from=4)
    for row in sides.rows(comparison):
        if row.differs or not only_differing:
            style = "bold" if row.differs else "" if row.compared else "dim"
            cells = ("≠" if row.differs else "", row.label, row.legacy, row.celery)
            table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def _parts(comparison: Comparison) -> Iterator[RenderableType]:
    headline, style = _HEADLINES[comparison.classification]
    if comparison.unexpected:
        headline, style = "✗ unexpected: both legs agree, and not with the expectation", "bold red"
    yield Text(headline, style=style)
    yield Text(f"{visible_text(comparison.name)} ({visible_text(comparison.language)})", style="dim")
    for missed in comparison.missed_expectations:
        yield Text(f"  {visible_text(missed)}")
    if comparison.reasons:
        yield Text(f"  {words.reason_missing(comparison)}")
    if comparison.reruns:
        yield Text(f"  run again on both legs {words.many(comparison.reruns, 'time')}")
    yield Text()
    yield sides_table(comparison)
    for stream in sides.streams(comparison):
        yield from _stream(stream)
    if comparison.flow_run_ids:
        yield Text(f"\nflow runs: {', '.join(map(visible_text, comparison.flow_run_ids))}", style="dim")


def _stream(stream: sides.Stream) -> Iterator[RenderableType]:
    if stream.silent:
        return
    if stream.diff:
        yield Text()
        yield diff_lines(stream.name, stream.diff)
        return
    yield heading(stream.name)
    if stream.same and stream.legacy is not None:
        yield _excerpt(stream.legacy)
    else:
        for leg, side in (("legacy", stream.legacy), ("celery", stream.celery)):
            if side is not None:
                yield Text(f"  on {leg}", style=LEG_STYLES[leg])
                yield _excerpt(side)


def _excerpt(side: Excerpt) -> Padding:
    lines = [Text(line) for line in side.lines]
    if side.more:
        lines.append(Text(f"… {words.many(side.more, 'more line')}", style="dim"))
    elif side.end_missing:
        lines.append(Text(MISSING_END, style="dim"))
    return Padding(Text("\n").join(lines), INDENT)
