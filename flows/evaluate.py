"""The flow ``evaluate``: a batch through both legs at once, then the comparison.

A batch of one is the interactive case; a sweep sends larger ones, so that a flow run's own cost is
paid once for many evaluations.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from prefect import Flow, flow
from prefect.runtime import flow_run

from flows.host import current_host
from tasks.batch import Batch
from tasks.steps import compare_legs, run_on_celery, run_on_legacy, take_over


@flow(name="evaluate", persist_result=False, validate_parameters=False)
async def evaluate(evaluation_ids: list[str], run: int = 0) -> Batch:
    """Run evaluations of the ledger on their legs in parallel and compare what they saw.

    ``evaluation_ids`` are Crucible's ids; ``run`` is 0 for the first time and counts the confirming
    re-runs from 1. Traffic goes to the legs of its route, all else to both. Every evaluation is in one of the
    batch's comparisons, whatever happened to it.

    The batch comes back rather than a list: Prefect walks through every list and model that a flow
    returns in search of futures, and that costs more than the comparison.
    """
    host = current_host()
    batch = await host.open_batch(evaluation_ids, run, str(flow_run.id))
    async with asyncio.TaskGroup() as legs:
        legs.create_task(run_on_legacy(batch))
        legs.create_task(run_on_celery(batch))
    if orphaned := await compare_legs(batch, host.settler):
        await take_over(batch, orphaned)
        await compare_legs(batch, host.settler)
    return batch


def named(name: str) -> Flow[..., Coroutine[Any, Any, Batch]]:
    """The flow ``evaluate`` under a readable run name."""
    # As a function: a text would be a template to Prefect, and authors' ids may hold braces.
    return evaluate.with_options(flow_run_name=lambda: name)
