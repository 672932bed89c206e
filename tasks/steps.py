"""The steps of the flow ``evaluate``, as Prefect shows them."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from crucible.models import Classification, Comparison
from tasks.batch import Batch
from tasks.settler import Settler

_USUAL = (Classification.MATCH, Classification.NOT_SAMPLED)
_LOGGED = 20
"""Differing evaluations that one compare step names in its log; the report has them all."""


@task(name="legacy leg", cache_policy=NO_CACHE, persist_result=False)
async def run_on_legacy(batch: Batch) -> None:
    """Run the batch on the legacy leg and wait for its observations."""
    await batch.ask("legacy")


@task(name="celery leg", cache_policy=NO_CACHE, persist_result=False)
async def run_on_celery(batch: Batch) -> None:
    """Run the batch on the celery leg and wait for its observations."""
    await batch.ask("celery")


@task(name="legacy leg takes over", cache_policy=NO_CACHE, persist_result=False)
async def take_over(batch: Batch, orphaned: set[str]) -> None:
    """Run on legacy what Celery alone ran and may answer no more, or could not answer."""
    batch.reopen(orphaned, "legacy")
    await batch.ask("legacy")


@task(name="compare", cache_policy=NO_CACHE, persist_result=False)
async def compare_legs(batch: Batch, settler: Settler) -> set[str]:
    """Close the batch: every pair was compared when it came; here they are durable, counted and logged.

    Returns the evaluations that legacy has to take over.
    """
    await settler.flush()
    orphaned = settler.take_orphans(each.evaluation_id for each in batch.comparisons)
    logger = get_run_logger()
    found = batch.comparisons
    odd = [each for each in found if each.classification not in _USUAL or each.unexpected]
    for comparison in odd[:_LOGGED]:
        logger.warning("%s", describe(comparison))
    logger.info("%d compared, %d alike", len(found), len(found) - len(odd))
    if orphaned:
        logger.warning("%d to be answered by legacy instead of Celery", len(orphaned))
    return orphaned


def describe(comparison: Comparison) -> str:
    """One line on what is odd about a comparison; holds none of the program's own words."""
    what = [f"{each.field} differs" for each in comparison.differences]
    what += [f"{leg}: {reason}" for leg, reason in comparison.reasons.items()]
    what += ["both legs agree and miss the expectation"] if comparison.unexpected else []
    return f"{comparison.name!r} ({comparison.evaluation_id}): {comparison.classification}; {', '.join(what)}"
