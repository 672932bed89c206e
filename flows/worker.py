"""A Prefect worker that runs flows inside its own process, as soon as they are due.

Prefect's own runner and worker start an interpreter for each flow run, which takes seconds.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any
from uuid import UUID

from anyio.abc import TaskStatus
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from crucible.errors import ServiceUnavailable
from crucible.settings import WorkerSettings, load
from deployments.prefect_private.client import WithoutAnnouncements, run_flow_run
from flows.flow_runs import end_cancelled
from flows.host import FlowHost, host_tag
from tasks.background import BackgroundService

POOL = "crucible"

_GENERATED_NAME = re.compile(r"[a-z]+[0-9]*(-[a-z]+[0-9]*)+")
"""What the names look like that Prefect's server and its form make up for runs that nobody has named."""

_SCHEDULED = EventFilter(event=EventNameFilter(name=["prefect.flow-run.Scheduled"]))


@dataclass(frozen=True, slots=True)
class Offer:
    """A flow that can be started by its deployment, and what a run with those parameters is called."""

    flow: Flow[..., Any]
    named: Callable[[Mapping[str, Any]], str]


class WarmResult(BaseWorkerResult):
    """How a flow run has ended, as far as workers are concerned: here."""


class WarmWorker(WithoutAnnouncements, BaseWorker[BaseJobConfiguration, BaseVariables, WarmResult]):
    """Runs flow runs of ``offers``, which are by the ids of their deployments.

    It needs a flow host and a Prefect session around it. Whoever ends it calls ``leave`` first, and lets the
    runs that are under way end.
    """

    type = "crucible"
    job_configuration = BaseJobConfiguration
    job_configuration_variables = BaseVariables

    def __init__(self, host: FlowHost, offers: Mapping[UUID, Offer]) -> None:
        # Nothing is fetched before it is due: what waits here would hold its place among those that run.
        name = f"{socket.gethostname()} {load(WorkerSettings).name}"
        super().__init__(work_pool_name=POOL, name=name, prefetch_seconds=0)
        self._host = host
        self._offers = offers
        self._under_way: dict[UUID, asyncio.Event] = {}
        self._leaving = False

    def open(self) -> None:
        """Have the host's background look for what is due when a flow run is scheduled, beside polling."""
        self._host.background.keep("due flow runs", self._follow, bound_s=inf, required=False)

    async def _follow(self, service: BackgroundService) -> None:
        async with get_events_subscriber(filter=_SCHEDULED) as events:
            service.round_done()
            async for _ in events:
                await self.get_and_submit_flow_runs()
                service.round_done()
        raise ServiceUnavailable("the Prefect server has ended the subscription to its events; see its log")

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """See Prefect; nothing more is taken after ``leave``."""
        return [] if self._leaving else await super().get_and_submit_flow_runs()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,  # noqa: ARG002 (there is nothing to configure)
        task_status: TaskStatus[int] | None = None,
    ) -> WarmResult:
        """Run ``flow_run`` to its end, here."""
        offer = self._offers.get(flow_run.deployment_id) if flow_run.deployment_id else None
        if offer is None:
            raise LookupError(f"deployment {flow_run.deployment_id} is none of those that run here")
        ended = self._under_way[flow_run.id] = asyncio.Event()
        try:
            if task_status is not None:
                task_status.started(0)
            await self._run_here(flow_run, offer)
        finally:
            del self._under_way[flow_run.id]
            ended.set()
        return WarmResult(status_code=0, identifier=self.name)

    async def leave(self, within_s: float) -> None:
        """Take nothing more, cancel what is under way and wait at most ``within_s`` seconds for its end."""
        self._leaving = True
        self._host.flow_runs.cancel([str(each) for each in self._under_way])
        ends = [asyncio.ensure_future(each.wait()) for each in self._under_way.values()]
        if ends:
            _, late = await asyncio.wait(ends, timeout=within_s)
            for each in late:
                each.cancel()

    async def _run_here(self, flow_run: FlowRun, offer: Offer) -> None:
        await self._claim(flow_run, offer)
        state = await run_flow_run(offer.flow, flow_run, flow_run.parameters, return_type="state")
        if state is not None and state.type is StateType.CANCELLING:  # before its body had begun
            await end_cancelled(flow_run.id)

    async def _claim(self, flow_run: FlowRun, offer: Offer) -> None:
        """Tag the run with its host, who must not leave it running for ever when it dies, and name it."""
        kept = [each for each in flow_run.tags if not each.startswith(host_tag(""))]
        tags = [*kept, host_tag(self._host.lease.owner)]
        await self.client.update_flow_run(flow_run.id, tags=tags, name=_name(flow_run, offer))


def _name(flow_run: FlowRun, offer: Offer) -> str:
    """What it does, and the name it had to tell it from others; a name that a person chose stays."""
    if not _GENERATED_NAME.fullmatch(flow_run.name):
        return flow_run.name
    return f"{offer.named(flow_run.parameters)} · {flow_run.name}"
