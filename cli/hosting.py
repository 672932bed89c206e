"""What sweeps and evaluations run in: a local stack, and a flow host in this process."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from cli.terminal.stack_view import starting_view
from crucible.errors import Cancelled
from crucible.models import Classification, Comparison
from crucible.settings import Settings
from crucible.store import Submission
from deployments.stack import StackState, prefect_client_environment, running_stack

_END_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class Flows:
    """The modules that cannot be imported before Prefect's environment is set, and the host they run in."""

    host: Any
    evaluate: Any
    confirm: Any
    flow_runs: Any
    cancel: Any
    sweep: Any
    outcome: Any


@asynccontextmanager
async def stack(settings: Settings) -> AsyncIterator[StackState]:
    """The stack that is up, else one of our own, stopped at the end."""
    async with AsyncExitStack() as exits:
        with starting_view() as on_progress:
            state = await exits.enter_async_context(running_stack(settings, on_progress))
        yield state


@asynccontextmanager
async def flows(settings: Settings, state: StackState) -> AsyncIterator[Flows]:
    """A flow host on the servers of ``state``; its flows can be run inside."""
    os.environ.update(prefect_client_environment(settings.home, state.prefect_api_url))
    if state.gateway_url:
        os.environ.setdefault("CRUCIBLE_GATEWAY_URL", state.gateway_url)
    # The terminal has a view of its own; what flows log is in the Prefect UI.
    for what in ("HANDLERS_CONSOLE", "INTERNAL"):
        os.environ[f"PREFECT_LOGGING_{what}_LEVEL"] = "CRITICAL"
    host, session = import_module("flows.host"), import_module("flows.prefect_client")
    endpoints = host.Endpoints(
        state.database_url,
        state.redis_url,
        state.celery_redis_url,
        state.executor_urls,
        state.executor_token,
    )
    names = ("evaluate", "confirm", "flow_runs", "cancel", "sweep", "outcome")
    async with AsyncExitStack() as exits:
        process = import_module("crucible.telemetry.process")
        api = process.api_of(state.api_url, state.executor_token)
        exits.enter_context(process.tracing("command line", api))
        await exits.enter_async_context(session.prefect_session())
        current = await exits.enter_async_context(host.flow_host(endpoints))
        yield Flows(current, *(import_module(f"flows.{name}") for name in names))


async def watched(flow: Coroutine[Any, Any, Any], look: Callable[[], None]) -> Any:
    """What ``flow`` returns; ``look`` is called now and then while it runs.

    Where this is cancelled, the flow is, and settles what it leaves open: it needs its host for that.
    """
    running = asyncio.ensure_future(flow)
    try:
        while not (await asyncio.wait({running}, timeout=_LOOK_EVERY_S))[0]:
            look()
    except asyncio.CancelledError:
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=_END_WITHIN_S)
        # Looked at, or asyncio would complain that nobody did: that it was cancelled is no news.
        await asyncio.gather(*done, return_exceptions=True)
        raise
    return running.result()


async def evaluate_new(
    current: Flows, name: str, submissions: Sequence[Submission], *, when_cancelled: str
) -> list[Comparison]:
    """Run new evaluations on both legs, and those again that differ; settles them as cancelled if it fails.

    Raises ``Cancelled`` with ``when_cancelled`` when somebody cancels their flow run.
    """

    async def evaluated() -> list[Comparison]:
        batch = await current.evaluate.evaluated(name, ids)
        if batch is None:
            raise Cancelled(when_cancelled)
        found: dict[str, Comparison] = {each.evaluation_id: each for each in batch.comparisons}
        differing = [each for each in found.values() if each.classification is Classification.MISMATCH]
        if differing:
            confirmed = await current.confirm.confirm(current.host, differing)
            found |= {each.evaluation_id: each for each in confirmed}
        return list(found.values())

    ids = [each.id for each in submissions]
    await current.host.store.submit(submissions)
    settle = partial(current.cancel.settle_cancelled, current.host, ids)
    comparisons: list[Comparison] = await current.cancel.settling_if_it_fails(evaluated(), settle)
    return comparisons
