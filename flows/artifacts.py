"""What a sweep leaves in Prefect for those who look there."""

from prefect.artifacts import acreate_table_artifact

from crucible.models import SweepReport

_ROWS = 100


async def publish_artifacts(report: SweepReport) -> None:
    """Leave the counts and the mismatches as tables of the flow run that is under way."""
    counts = [{"column": column, "evaluations": number} for column, number in report.counts]
    await acreate_table_artifact(
        table=counts,
        key="sweep-counts",
        description=f"Sweep {report.sweep_id}: **{report.verdict}**. {'; '.join(report.reasons)}.",
    )
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
        key="sweep-mismatches",
        description=f"Sweep {report.sweep_id}: evaluations worth a look, the first {_ROWS} at most.",
    )
