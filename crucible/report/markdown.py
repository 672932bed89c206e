"""A verdict as Markdown, for pages that show little else: what it is, why, and where to read on."""

from pathlib import Path

from crucible.models import SweepReport
from crucible.report import words


def render_markdown(report: SweepReport, page: Path, plot_url: str | None, note: str) -> str:
    """The verdict of ``report``, whose page is the file ``page``; ``note`` is a remark for its end.

    Holds no text that came from outside but the names of files.
    """
    verdict = report.verdict.value.capitalize()
    parts = [
        f"# {words.SYMBOLS[report.verdict]} {verdict}",
        "\n".join(f"- {reason}" for reason in report.reasons),
        words.bound_in_words(report),
        _ledger(report),
        f"![Run times of the programs on both legs]({plot_url})" if plot_url else "",
        _about(report, page, note),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _ledger(report: SweepReport) -> str:
    rows = [
        f"| {column.name} | {column.number:,} | {column.meaning} |"
        for column in words.ledger_columns(report.counts)
    ]
    total = f"| **submitted** | **{report.counts.submitted:,}** | |"
    return "\n".join(["| column | evaluations | meaning |", "| --- | ---: | --- |", *rows, total])


def _about(report: SweepReport, page: Path, note: str) -> str:
    links = words.flow_run_links(report)
    first = report.flow_run_ids[0]
    sweep = f"[{report.sweep_id}]({links[first]})" if first in links else report.sweep_id
    rate = f"{report.throughput_per_s:,.1f} evaluations per s"
    return "\n".join(
        [
            f"- Sweep {sweep}, {words.seconds(report.duration_s)}, {rate}",
            f"- Report: `{page}`, with every difference; `junit.xml` and `report.json` are beside it",
            f"- Webhook: {note}",
        ]
    )
