"""Sweeps, single evaluations and reproducers from the command line: a stack, a flow host, one flow."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from cli.letters import LetterBox, Opened
from cli.migration import opened_store
from cli.terminal.progress_view import SweepProgress
from cli.terminal.stack_view import starting_view
from crucible.corpus import validate
from crucible.errors import Cancelled, InputError
from crucible.ids import new_evaluation_id, new_evaluation_ids, new_sweep_id
from crucible.models import Classification, Comparison, Counts, Evaluation, SweepReport
from crucible.reproducer import Reproducer
from crucible.settings import Settings
from crucible.store import Submission
from deployments.stack import StackState, prefect_client_environment, running_stack
from executors.client import languages_of_all
from executors.languages import LANGUAGES

_END_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class Flows:
    """The modules that cannot be imported before Prefect's environment is set, and the host they run in."""

    host: Any
    evaluate: Any
    confirm: Any
    flow_runs: Any
    hosting: Any
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
    host, session = import_module("flows.host"), import_module("flows.flow_runs")
    endpoints = host.Endpoints(
        state.database_url,
        state.redis_url,
        state.celery_redis_url,
        state.executor_urls,
        state.executor_token,
    )
    names = ("evaluate", "confirm", "flow_runs", "host", "sweep", "outcome")
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
    settle = partial(current.hosting.settle_cancelled, current.host, ids)
    comparisons: list[Comparison] = await current.hosting.settling_if_it_fails(evaluated(), settle)
    return comparisons


@dataclass(frozen=True)
class Wish:
    """What the command line asked for."""

    corpora: tuple[Path, ...]
    limit: int | None
    min_evaluations: int
    ignore_expectations: bool
    skip_unavailable: bool


async def run_sweep(settings: Settings, wish: Wish) -> SweepReport:
    """Validate, sweep and report. Raises ``InputError`` before anything is enqueued."""
    _require_rereadable(wish.corpora)
    summary = validate(wish.corpora, LANGUAGES, LANGUAGES)
    async with stack(settings) as state:
        languages = await _languages(state)
        if not wish.skip_unavailable and not set(summary.per_language) <= set(languages):
            validate(wish.corpora, languages, LANGUAGES)
        total = summary.lines if wish.limit is None else min(wish.limit, summary.lines)
        async with flows(settings, state) as current:
            request = current.outcome.SweepRequest(
                corpora=wish.corpora,
                languages=languages,
                limit=wish.limit,
                min_evaluations=wish.min_evaluations,
                ignore_expectations=wish.ignore_expectations,
                # An own stack is gone before anyone could follow a link into it.
                prefect_url=None if state.ephemeral else state.prefect_url,
            )
            return await _swept(current, request, total)


async def run_evaluation(settings: Settings, evaluation: Evaluation) -> Comparison:
    """One evaluation through both legs, run again where they differ."""
    _require_language(evaluation.language, LANGUAGES)
    async with stack(settings) as state:
        _require_language(evaluation.language, await _languages(state))
        async with flows(settings, state) as current:
            new = Submission(new_evaluation_id(), evaluation)
            said = f"{new.id} was cancelled"
            (found,) = await evaluate_new(current, evaluation.id, [new], when_cancelled=said)
            return found


async def _languages(state: StackState) -> dict[str, str]:
    return await asyncio.to_thread(languages_of_all, state.executor_urls, state.executor_token)


def _require_rereadable(corpora: tuple[Path, ...]) -> None:
    for path in corpora:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(f"{path}: is a pipe or a device; a corpus is read twice, so save it as a file")


def _require_language(language: str, available: dict[str, Any]) -> None:
    if language not in available:
        raise InputError(
            f"no executor runs {language!r} here; they run {', '.join(sorted(available))}: see --language"
        )


async def _swept(current: Flows, request: Any, total: int) -> SweepReport:
    sweep_id = new_sweep_id()
    tracker = import_module("flows.host").Tracker()
    current.host.trackers[sweep_id] = tracker
    with SweepProgress(total) as progress:
        try:
            found = await watched(
                current.sweep.swept(sweep_id, request),
                lambda: progress.update(tracker.counts, tracker.phase),
            )
        except asyncio.CancelledError:
            progress.update(tracker.counts, "cancelled")
            raise
        report = SweepReport.model_validate(found)
        progress.update(report.counts, "done")
        return report


async def run_reproduce(settings: Settings, evaluation_id: str, at_most: int) -> Reproducer | None:
    """Reduce a mismatch of the store; null when it does not show again.

    Raises ``InputError`` when ``evaluation_id`` is no mismatch there.
    """
    async with stack(settings) as state, flows(settings, state) as current:
        return await _reproduced(current, evaluation_id, at_most)


async def _reproduced(current: Flows, evaluation_id: str, at_most: int) -> Reproducer | None:
    flow = import_module("flows.program").reproduce
    counts = Counts()

    def tried(comparison: Comparison) -> None:
        nonlocal counts
        counts = counts.with_submitted(1).with_settled(comparison.classification)

    with SweepProgress() as progress, current.host.listening(tried):
        found: Reproducer | None = await watched(
            current.flow_runs.unless_cancelled(flow(evaluation_id, at_most)),
            lambda: progress.update(counts, "reducing"),
        )
        progress.update(counts, "reducing")
    return found


@dataclass(slots=True)
class Replayed:
    """What became of each letter: ``again`` has those whose program was run again, and what came of that."""

    put_back: list[Opened] = field(default_factory=list)
    again: list[tuple[Opened, Comparison]] = field(default_factory=list)
    unreadable: list[Opened] = field(default_factory=list)


async def replayed(settings: Settings, box: LetterBox, letters: Sequence[Opened]) -> Replayed:
    """Deliver ``letters`` once more and remove those for which that was done.

    What the ledger has no column for yet, or does not know, goes back on its queue: whoever sent it waits
    for it. What is settled is run again as a new evaluation, once for all its letters.
    """
    done = Replayed()
    settled: dict[str, list[Opened]] = {}
    async with opened_store(settings) as store:
        for each in letters:
            if each.run is None or each.evaluation_id is None:
                done.unreadable.append(each)
                continue
            state = await store.evaluation_state(each.evaluation_id)
            if state is not None and state.classification is not None:
                settled.setdefault(state.id, []).append(each)
            elif box.put_back(each):
                done.put_back.append(each)
        found = dict(await store.load(list(settled)))
    if found:
        for old_id, comparison in (await _run_again(settings, found)).items():
            for each in settled[old_id]:
                box.remove(each)
                done.again.append((each, comparison))
    return done


async def _run_again(settings: Settings, found: Mapping[str, Evaluation]) -> dict[str, Comparison]:
    """A new evaluation for each of ``found``, through both legs whatever the migration says."""
    new_ids = new_evaluation_ids(len(found))
    copies = [
        each.model_copy(update={"tags": (*each.tags, f"replay-of:{old_id}")})
        for old_id, each in found.items()
    ]
    async with stack(settings) as state, flows(settings, state) as current:
        submissions = list(map(Submission, new_ids, copies))
        said = "the replay was cancelled; its letters are still there"
        comparisons = await evaluate_new(
            current, f"replay of {len(new_ids)}", submissions, when_cancelled=said
        )
    by_new_id = {each.evaluation_id: each for each in comparisons}
    return {old_id: by_new_id[new_id] for old_id, new_id in zip(found, new_ids, strict=True)}
