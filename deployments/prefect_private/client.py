"""Private parts of Prefect in processes that run flows."""

import asyncio
from typing import Any, Literal
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.events.worker import EventsWorker
from prefect.flow_engine import run_flow_async


class WithoutAnnouncements:
    """To stand before ``BaseWorker``: leaves out what it writes before each of its flow runs."""

    _description = "Runs Crucible's flows in a process that is warm."

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Leave it: whose run it is stands in its tags."""

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Leave it: it is running a moment later. On SQLite every write may cost seconds of waiting."""


async def run_flow_run(
    flow: Flow[..., Any],
    flow_run: FlowRun,
    parameters: dict[str, Any],
    return_type: Literal["state", "result"] = "result",
) -> Any:
    """Run ``flow_run``, a run of ``flow``, in this process; returns and raises what the flow does."""
    # A run that the engine knows to be a deployment's gets a thread with an event loop of its own, which
    # blocks this one until it is connected. It would serve to suspend runs; ours cannot be.
    as_engine_sees_it = flow_run.model_copy(update={"deployment_id": None})
    return await run_flow_async(
        flow, flow_run=as_engine_sees_it, parameters=parameters, return_type=return_type
    )


async def drain_events(within_s: float) -> None:
    """Have the threads that send Prefect's events send what they still hold."""
    await asyncio.to_thread(EventsWorker.drain_all, within_s)
