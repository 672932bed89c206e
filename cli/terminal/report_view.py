"""The report of a sweep, and one evaluation, on the terminal."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.terminal.style import INDENT, LEG_STYLES, VERDICT_STYLES, diff_lines, heading, plain_table
from crucible.models import LEGS, Classification, Comparison, Observation, SweepReport
from crucible.report import sides, words
from crucible.report.visible import MISSING_END, Excerpt, excerpt, visible_text

SHOWN = 10
"""How many comparisons of a kind are shown before the rest is counted."""

_DIFF_LINES = 20
_NAMES_SHOWN = 5


def render_report(report: SweepReport, page: Path | None = None) -> RenderableType:
    """The verdict first, then the evidence. ``page`` is where the whole report was written."""
    return Group(
        *_verdict(report), *_counts(report), *_mismatches(report, page), *_others(report), *_end(report, page)
    )


def _verdict(report: SweepReport) -> Iterator[RenderableType]:
    style = VERDICT_STYLES[report.verdict]
    yield Text(f"{words.SYMBOLS[report.verdict]} {report.verdict.value.upper()}", style=style)
    for reason in report.reasons:
        yield Text(f"  {visible_text(reason)}")
    yield Text(f"  {words.bound_in_words(report)}")


def _counts(report: SweepReport) -> Iterator[RenderableType]:
    counts = report.counts
    table = plain_table("ledger", "evaluations")
    for column in words.ledger_columns(counts):
        bad = column.number and column.name in ("mismatched", "unpaired")
        table.add_row(
            column.name, f"{column.number:,}", style="bold red" if bad else "" if column.number else "dim"
        )
        if column.name == "matched" and counts.unexpected:
            table.add_row("  of these unexpected", f"{counts.unexpected:,}", style="bold red")
    table.add_row("submitted", f"{counts.submitted:,}", style="bold")
    yield Text()
    yield table
    if not counts.balanced:
        yield Text(f"✗ the columns add up to {counts.settled:,}", style="bold red")
    for language, number in report.skipped.items():
        left_out = f"{words.many(number, 'evaluation')} in {visible_text(language)}"
        yield Text(f"not submitted: {left_out}, which nobody here runs")


def _mismatches(report: SweepReport, page: Path | None) -> Iterator[RenderableType]:
    found = words.of_classification(report.details, Classification.MISMATCH)
    if not report.counts.mismatched:
        return
    yield heading("Mismatches")
    for comparison in found[:SHOWN]:
        yield from _mismatch(comparison)
    rest = report.counts.mismatched - min(len(found), SHOWN)
    if rest > 0:
        where = f"; see {page}" if page else ""
        yield Text(f"and {words.many(rest, 'more mismatch', 'es')}{where}", style="bold")


def _mismatch(comparison: Comparison) -> Iterator[RenderableType]:
    title = Text("✗ ", style="bold red")
    title.append(visible_text(comparison.name), style="bold")
    title.append(
        f"  {visible_text(comparison.language)}, differs in {sides.differing_fields(comparison)}", style="dim"
    )
    yield title
    yield Padding(sides_table(comparison, only_differing=True), INDENT)
    for stream in sides.streams(comparison, _DIFF_LINES):
        if stream.diff:
            yield diff_lines(stream.name, stream.diff)
    yield Text()


def _others(report: SweepReport) -> Iterator[RenderableType]:
    unpaired = words.grouped_by_reason(words.of_classification(report.details, Classification.UNPAIRED))
    if unpaired:
        yield heading("Unpaired")
        for reason, comparisons in unpaired.items():
            yield Text(f"  {words.many(len(comparisons), 'evaluation')}: {reason}")
            yield Text(f"    {_some_names(comparisons)}", style="dim")
        detailed = sum(map(len, unpaired.values()))
        if report.counts.unpaired > detailed:
            yield Text(f"  and {report.counts.unpaired - detailed:,} more")
    unexpected = [comparison for comparison in report.details if comparison.unexpected]
    if unexpected:
        yield heading("Unexpected")
        for comparison in unexpected[:SHOWN]:
            missed = "; ".join(map(visible_text, comparison.missed_expectations))
            yield Text(f"  {visible_text(comparison.name)}: {missed}")
        if report.counts.unexpected > SHOWN:
            yield Text(f"  and {report.counts.unexpected - SHOWN:,} more")
    varying = list(words.of_classification(report.details, Classification.NONDETERMINISTIC))
    if varying:
        yield heading("Nondeterministic")
        yield Text(f"  {_some_names(varying)}")


def _some_names(comparisons: list[Comparison]) -> str:
    names = ", ".join(visible_text(comparison.name) for comparison in comparisons[:_NAMES_SHOWN])
    rest = len(comparisons) - _NAMES_SHOWN
    return f"{names} and {rest:,} more" if rest > 0 else names


def _end(report: SweepReport, page: Path | None) -> Iterator[RenderableType]:
    if report.slowest:
        yield Text()
        yield _slowest(report)
    if any(summary.count for summary in report.latency.values()):
        yield Text()
        yield _latency(report)
    pace = f"{report.counts.submitted:,} evaluations in {words.seconds(report.duration_s)}"
    yield Text(f"\n{pace}, {report.throughput_per_s:,.1f} per s", style="dim")
    if report.flow_run_ids:
        first = report.flow_run_ids[0]
        link = words.flow_run_links(report).get(first)
        where = visible_text(link) if link else f"{visible_text(first)} (crucible up shows them)"
        yield Text(f"{words.many(len(report.flow_run_ids), 'flow run')} in Prefect, the first: {where}")
    if page:
        yield Text(f"report: {page}", style="bold")


def _slowest(report: SweepReport) -> Table:
    table = plain_table("slowest", "language", "legacy", "celery", numbers_from=2)
    for slow in report.slowest:
        name, language = visible_text(slow.name), visible_text(slow.language)
        table.add_row(Text(name), Text(language), words.seconds(slow.legacy_s), words.seconds(slow.celery_s))
    return table


def _latency(report: SweepReport) -> Table:
    legs = [leg for leg in LEGS if leg in report.latency]
    table = plain_table("latency", *legs)
    for label in ("p50", "p95", "p99", "max"):
        table.add_row(label, *(words.seconds(getattr(report.latency[leg], f"{label}_s")) for leg in legs))
    return table


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
