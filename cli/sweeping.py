"""Sweeps and single evaluations from the command line: a stack, a flow host, one flow."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cli.terminal.progress_view import SweepProgress
from cli.terminal.stack_view import starting_view
from crucible.corpus import validate
from crucible.errors import InputError
from crucible.ids import new_evaluation_id, new_sweep_id
from crucible.models import Classification, Comparison, Evaluation, SweepReport
from crucible.settings import Settings
from deployments.stack import StackState, prefect_client_environment, running_stack
from executors.client import ExecutorClient
from executors.languages import LANGUAGES

_REFRESH_S = 0.25
_ASK_S = 5.0


@dataclass(frozen=True)
class Wish:
    """What the command line asked for."""

    corpora: tuple[Path, ...]
    limit: int | None
    min_evaluations: int
    ignore_expectations: bool
    skip_unavailable: bool


@dataclass(frozen=True)
class Flows:
    """The modules that cannot be imported before Prefect's environment is set, and the host they run in."""

    host: Any
    evaluate: Any
    confirm: Any
    sweep: Any
    outcome: Any


async def run_sweep(settings: Settings, wish: Wish) -> SweepReport:
    """Validate, sweep and report. Raises ``InputError`` before anything is enqueued."""
    summary = validate(wish.corpora, LANGUAGES, LANGUAGES)
    async with _stack(settings) as state:
        languages = await asyncio.to_thread(languages_of_all, state)
        if not wish.skip_unavailable and not set(summary.per_language) <= set(languages):
            validate(wish.corpora, languages, LANGUAGES)
        total = summary.lines if wish.limit is None else min(wish.limit, summary.lines)
        async with _flows(settings, state) as flows:
            request = flows.outcome.SweepRequest(
                corpora=wish.corpora,
                languages=languages,
                limit=wish.limit,
                min_evaluations=wish.min_evaluations,
                ignore_expectations=wish.ignore_expectations,
                prefect_url=state.prefect_url,
            )
            return await _swept(flows, request, total)


async def run_evaluation(settings: Settings, evaluation: Evaluation) -> Comparison:
    """One evaluation through both legs, run again where they differ."""
    async with _stack(settings) as state:
        languages = await asyncio.to_thread(languages_of_all, state)
        if evaluation.language not in languages:
            raise InputError(
                f"no executor runs {evaluation.language!r} here; they run {', '.join(sorted(languages))}"
            )
        async with _flows(settings, state) as flows:
            store = import_module("crucible.store")
            new_id = new_evaluation_id()
            await flows.host.store.submit([store.Submission(new_id, evaluation)])
            (comparison,) = await flows.evaluate.named(evaluation.id)([new_id])
            if comparison.classification is Classification.MISMATCH:
                (comparison,) = await flows.confirm.confirm(flows.host, [comparison])
            return Comparison.model_validate(comparison)


def languages_of_all(state: StackState) -> dict[str, str]:
    """The languages that every executor runs, with the version of the first."""
    token = state.executor_token
    found = [ExecutorClient([url], token, _ASK_S, 1).languages() for url in state.executor_urls]
    return {name: version for name, version in found[0].items() if all(name in each for each in found)}


@asynccontextmanager
async def _stack(settings: Settings) -> AsyncIterator[StackState]:
    async with AsyncExitStack() as exits:
        with starting_view() as on_progress:
            state = await exits.enter_async_context(running_stack(settings, on_progress))
        yield state


@asynccontextmanager
async def _flows(settings: Settings, state: StackState) -> AsyncIterator[Flows]:
    os.environ.update(prefect_client_environment(settings.home, state.prefect_api_url))
    # The terminal has a view of its own; what flows log is in the Prefect UI.
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    host, session = import_module("flows.host"), import_module("flows.session")
    endpoints = host.Endpoints(state.database_url, state.redis_url, state.celery_redis_url)
    async with session.prefect_session(), host.flow_host(endpoints) as current:
        yield Flows(
            current, *(import_module(f"flows.{name}") for name in ("evaluate", "confirm", "sweep", "outcome"))
        )


async def _swept(flows: Flows, request: Any, total: int) -> SweepReport:
    sweep_id = new_sweep_id()
    tracker = import_module("flows.host").Tracker()
    flows.host.trackers[sweep_id] = tracker
    with SweepProgress(total) as progress:
        sweeping = asyncio.ensure_future(
            flows.sweep.sweep.with_options(flow_run_name=sweep_id)(sweep_id, request)
        )
        try:
            while not (await asyncio.wait({sweeping}, timeout=_REFRESH_S))[0]:
                progress.update(tracker.counts, tracker.phase)
        finally:
            sweeping.cancel()
        progress.update(tracker.counts, "done")
        return SweepReport.model_validate(sweeping.result())
