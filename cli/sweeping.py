"""Sweeps, single evaluations and reproducers from the command line: a stack, a flow host, one flow."""

import asyncio
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cli.hosting import Flows, evaluate_new, flows, stack, watched
from cli.terminal.progress_view import SweepProgress
from crucible.corpus import validate
from crucible.errors import InputError
from crucible.ids import new_evaluation_id, new_sweep_id
from crucible.models import Comparison, Counts, Evaluation, SweepReport
from crucible.reproducer import Reproducer
from crucible.settings import Settings
from crucible.store import Submission
from deployments.stack import StackState
from executors.client import languages_of_all
from executors.languages import LANGUAGES


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
    flow = import_module("flows.reproduce").reproduce
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
