"""What flows leave in Prefect for those who look there: tables and pages with links to our own pages."""

import re
from functools import cache
from pathlib import Path

from prefect.artifacts import acreate_image_artifact, acreate_markdown_artifact, acreate_table_artifact

from crucible.models import Comparison, SweepReport
from crucible.report import words
from crucible.report.markdown import render_markdown
from crucible.report.sides import Row, Stream, rows, streams
from crucible.report.visible import Excerpt
from crucible.settings import Settings, load


def evaluation_page(evaluation_id: str) -> str | None:
    """The page of an evaluation; null where no gateway is known."""
    return _page(f"evaluations/{evaluation_id}")


def sweep_page(sweep_id: str) -> str | None:
    """The page of a sweep; null where no gateway is known."""
    return _page(f"sweeps/{sweep_id}")


def linked(text: str, page: str | None) -> str:
    """``text`` as Markdown that leads to ``page``, if there is one."""
    return f"[{text}]({page})" if page else text


def rollout_page() -> str | None:
    """The page of the migration; null where no gateway is known."""
    return _page("rollout")


def _page(path: str) -> str | None:
    gateway = _gateway()
    return f"{gateway.rstrip('/')}/dashboard/{path}" if gateway else None


@cache
def _gateway() -> str | None:
    """Read once: to read all settings takes longer than to run a flow's first step."""
    return load(Settings).gateway_url


_ROWS = 100


async def publish_artifacts(report: SweepReport) -> None:
    """Leave the counts and the mismatches as tables of the flow run that is under way."""
    counts = [{"column": column, "evaluations": number} for column, number in report.counts]
    await acreate_table_artifact(
        table=counts,
        key="sweep-counts",
        description=f"Sweep {_linked(report)}: **{report.verdict}**. {'; '.join(report.reasons)}.",
    )
    await _publish_details(report, "sweep-mismatches")


async def publish_verdict(report: SweepReport, page: Path, api_url: str | None, note: str) -> None:
    """Leave the verdict as a page, with what is worth a look and, where the API is known, a plot.

    ``page`` is the file of the report, ``note`` says who was told.
    """
    drawn = any(summary.count for summary in report.latency.values())
    plot_url = f"{api_url}/sweeps/{report.sweep_id}/plots/latency.svg" if api_url and drawn else None
    await acreate_markdown_artifact(
        render_markdown(report, page, plot_url, note),
        key="parity-verdict",
        description=f"Verdict of sweep {_linked(report)}: **{report.verdict}**.",
    )
    if report.details:
        await _publish_details(report, "parity-mismatches")
    if plot_url:
        await acreate_image_artifact(
            plot_url,
            key="parity-latency",
            description=f"Run times of the programs of sweep {report.sweep_id} on both legs.",
        )


def _linked(report: SweepReport) -> str:
    return linked(report.sweep_id, sweep_page(report.sweep_id))


async def _publish_details(report: SweepReport, key: str) -> None:
    rows = [
        {
            "evaluation": each.name,
            "language": each.language,
            "classification": each.classification.value,
            "differs in": ", ".join(difference.field for difference in each.differences),
            "reasons": "; ".join((*each.reasons.values(), *each.missed_expectations)),
        }
        for each in report.details[:_ROWS]
    ]
    await acreate_table_artifact(
        table=rows,
        key=key,
        description=f"Sweep {report.sweep_id}: evaluations worth a look, the first {_ROWS} at most.",
    )


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
