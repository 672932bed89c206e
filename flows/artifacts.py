"""What a sweep leaves in Prefect for those who look there."""

from pathlib import Path

from prefect.artifacts import acreate_image_artifact, acreate_markdown_artifact, acreate_table_artifact

from crucible.models import SweepReport
from crucible.report.markdown import render_markdown
from flows.links import linked, sweep_page

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
