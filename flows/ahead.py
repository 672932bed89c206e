"""Evaluations that somebody waits for: their legs are asked while Prefect gets to know of their flow run.

To begin a flow run takes Prefect longer than both legs take to answer a small program.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast
from uuid import UUID

from httpx import HTTPStatusError, codes
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import TagsContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending

from crucible import errors
from crucible.store import Ticket
from deployments.prefect_private.client import run_flow_run
from flows.cancel import cancel_evaluations
from flows.evaluate import evaluate
from flows.flow_runs import unless_cancelled
from flows.host import current_host
from flows.prefect_client import prefect_client
from tasks.batch import Batch

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
            return await unless_cancelled(_run(flow_run, evaluation_ids))

        try:
            batch = await host.enduring(attempt)
        except errors.Cancelled:
            if host.is_ahead(evaluation_ids[0]):  # before it began, so that nobody has accounted for it
                await cancel_evaluations(host, evaluation_ids)
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


async def _run(flow_run: FlowRun, evaluation_ids: list[str]) -> Batch:
    return cast("Batch", await run_flow_run(evaluate, flow_run, {"evaluation_ids": evaluation_ids, "run": 0}))
