"""The flow ``evaluate``: a batch through both legs at once, then the comparison.

A batch of one is the interactive case; a sweep sends larger ones, so that a flow run's own cost is
paid once for many evaluations.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import closing
from typing import Any, cast

from prefect import Flow, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from crucible import errors
from crucible.models import Classification
from flows.artifacts import evaluation_page
from flows.cancel import settle_cancelled
from flows.flow_runs import unless_cancelled
from flows.host import FlowHost, current_host
from tasks.batch import Batch
from tasks.steps import compare_legs, run_on_celery, run_on_legacy, take_over

_LINKED = 10
"""Evaluations of a batch whose pages its log leads to; Prefect makes links of addresses there."""


@flow(name="evaluate", persist_result=False, validate_parameters=False)
async def evaluate(evaluation_ids: list[str], run: int = 0) -> Batch | State[Any]:
    """Run evaluations of the ledger on their legs in parallel and compare what they saw.

    ``evaluation_ids`` are Crucible's ids; ``run`` is 0 for the first time and counts the confirming
    re-runs from 1. Traffic goes to the legs of its route, all else to both. Every evaluation is in one of the
    batch's comparisons, whatever happened to it. Ends as Cancelled when the flow run was cancelled, or all
    of its evaluations were.

    The batch comes back rather than a list: Prefect walks through every list and model that a flow
    returns in search of futures, and that costs more than the comparison.
    """
    host, flow_run_id = current_host(), str(flow_run.id)
    if pages := list(filter(None, map(evaluation_page, evaluation_ids[:_LINKED]))):
        get_run_logger().info("%s", "\n".join(pages))

    async def settle() -> None:
        if run == 0:  # what is run again is settled already
            await settle_cancelled(host, evaluation_ids)

    work = seen_through(host, evaluation_ids, run, flow_run_id)
    return await host.flow_runs.run(flow_run_id, work, settle, host.settings.deadline_s)


async def seen_through(
    host: FlowHost, evaluation_ids: list[str], run: int, flow_run_id: str
) -> Batch | State[Any]:
    """The three steps of ``evaluate`` for the flow run that is under way; the state Cancelled as there."""
    with closing(await host.open_batch(evaluation_ids, run, flow_run_id)) as batch:
        async with asyncio.TaskGroup() as legs:
            legs.create_task(run_on_legacy(batch))
            legs.create_task(run_on_celery(batch))
        if orphaned := await compare_legs(batch, host.settler):
            await take_over(batch, orphaned)
            await compare_legs(batch, host.settler)
    if all(each.classification is Classification.CANCELLED for each in batch.comparisons):
        return Cancelled(message="every evaluation of it was cancelled")
    return batch


def named(name: str) -> Flow[..., Coroutine[Any, Any, Batch]]:
    """The flow ``evaluate`` under a readable run name; raises ``CancelledRun`` when it ends as Cancelled."""
    # As a function: a text would be a template to Prefect, and authors' ids may hold braces.
    return cast("Flow[..., Coroutine[Any, Any, Batch]]", evaluate.with_options(flow_run_name=lambda: name))


async def evaluated(name: str, evaluation_ids: list[str], run: int = 0) -> Batch | None:
    """The batch of a flow run ``evaluate`` of that name; null when it ended as Cancelled.

    A flow run that fails because Prefect or the store is away is followed by another one.
    """
    host, flow = current_host(), named(name)
    try:
        batch = await host.enduring(lambda: unless_cancelled(flow(evaluation_ids, run)))
    except errors.Cancelled:
        return None
    if run == 0:  # settled; what re-runs have shown is kept until it is recorded
        await host.exchange.forget(batch.run_ids)
    return batch
