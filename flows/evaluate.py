"""The flow ``evaluate``: a batch through both legs at once, then the comparison.

A batch of one is the interactive case; a sweep sends larger ones, so that a flow run's own cost is
paid once for many evaluations.

For evaluations that somebody waits for, the legs are asked while Prefect gets to know of their flow run: to
begin a flow run takes Prefect longer than both legs take to answer a small program.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing, suppress
from typing import Any, cast
from uuid import UUID

from httpx import HTTPStatusError, codes
from prefect import Flow, flow, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import TagsContext
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelled, Pending

from crucible import errors
from crucible.models import Classification
from crucible.store import Ticket
from deployments.prefect_private.client import run_flow_run
from flows.artifacts import evaluation_page
from flows.flow_runs import end_cancelled, prefect_client, unless_cancelled
from flows.host import FlowHost, cancel_evaluations, current_host, settle_cancelled
from tasks.batch import Batch, compare_legs, run_on_celery, run_on_legacy, take_over

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


DEPLOYMENT = "evaluate/batch"

_LOOK_AGAIN_S = 10.0

OnCreated = Callable[[str], None]
"""Hears the id of a flow run once it has one."""


async def evaluate_batch(registrar: "Registrar", batch: Sequence[Ticket], on_created: OnCreated) -> None:
    """One flow run ``evaluate`` for ``batch``; else as ``evaluated_ahead``."""
    first, more = batch[0].name, len(batch) - 1
    name = f"{first} and {more} more" if more else first
    await evaluated_ahead(registrar, name, [ticket.id for ticket in batch], on_created)


async def evaluated_ahead(
    registrar: "Registrar", name: str, evaluation_ids: list[str], on_created: OnCreated
) -> None:
    """One flow run ``evaluate`` of that name, to its end, with the legs asked before it begins.

    A flow run that fails because Prefect or the store is away is followed by another one. Raises whatever
    else ends it early but that it was cancelled.
    """
    host = current_host()
    async with host.asked_ahead(evaluation_ids) as ahead:

        async def attempt() -> Batch:
            flow_run = await registrar.create(name, evaluation_ids)
            on_created(str(flow_run.id))
            if host.is_ahead(evaluation_ids[0]):
                ahead.begin(str(flow_run.id))  # answers are not kept waiting for its first step
            parameters = {"evaluation_ids": evaluation_ids, "run": 0}
            return cast("Batch", await unless_cancelled(run_flow_run(evaluate, flow_run, parameters)))

        try:
            batch = await host.enduring(attempt)
        except errors.Cancelled:
            if host.is_ahead(evaluation_ids[0]):  # before it began, so that nobody has accounted for it
                await cancel_evaluations(host, evaluation_ids)
                await host.enduring(lambda: end_cancelled(UUID(ahead.flow_run_id)))
            return
    await host.exchange.forget(batch.run_ids)


class Registrar:
    """Has Prefect create flow runs ``evaluate``, of the deployment that they belong to once that is there."""

    def __init__(self) -> None:
        self._deployment_id: UUID | None = None
        self._look_at = 0.0

    async def create(self, name: str, evaluation_ids: list[str]) -> FlowRun:
        """A pending flow run that nobody but the caller runs; raises ``ServiceUnavailable``."""
        parameters = {"evaluation_ids": evaluation_ids, "run": 0}
        tags = sorted(TagsContext.get().current_tags)
        async with prefect_client() as client:
            if deployment_id := await self._deployment(client):
                try:
                    return await client.create_flow_run_from_deployment(
                        deployment_id, name=name, parameters=parameters, tags=tags, state=Pending()
                    )
                except HTTPStatusError as error:
                    if error.response.status_code != codes.NOT_FOUND:
                        raise
                    self._deployment_id = None  # deleted, or of another database; looked for again later
            return await client.create_flow_run(
                evaluate, name=name, parameters=parameters, tags=tags, state=Pending()
            )

    async def _deployment(self, client: PrefectClient) -> UUID | None:
        if self._deployment_id is None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_AGAIN_S
            with suppress(ObjectNotFound):
                self._deployment_id = (await client.read_deployment_by_name(DEPLOYMENT)).id
        return self._deployment_id
