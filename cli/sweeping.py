"""Sweeps and single evaluations from the command line: a stack, a flow host, one flow."""

import asyncio
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from cli.hosting import Flows, end, flows, stack
from cli.terminal.progress_view import SweepProgress
from crucible.corpus import validate
from crucible.errors import Cancelled, InputError
from crucible.ids import new_evaluation_id, new_sweep_id
from crucible.models import Classification, Comparison, Evaluation, SweepReport
from crucible.settings import Settings
from deployments.stack import StackState
from executors.languages import LANGUAGES
from flows.languages import languages_of_all

_REFRESH_S = 0.25


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
            store, new_id = import_module("crucible.store"), new_evaluation_id()
            await current.host.store.submit([store.Submission(new_id, evaluation)])
            settle = partial(current.cancel.settle_cancelled, current.host, [new_id])
            found = await current.cancel.settling_if_it_fails(_evaluated(current, evaluation, new_id), settle)
            return Comparison.model_validate(found)


async def _languages(state: StackState) -> dict[str, str]:
    return await asyncio.to_thread(languages_of_all, state.executor_urls, state.executor_token)


async def _evaluated(current: Flows, evaluation: Evaluation, new_id: str) -> Any:
    batch = await current.evaluate.evaluated(evaluation.id, [new_id])
    if batch is None:
        raise Cancelled(f"{new_id} was cancelled")
    (comparison,) = batch.comparisons
    if comparison.classification is Classification.MISMATCH:
        (comparison,) = await current.confirm.confirm(current.host, [comparison])
    return comparison


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
        sweeping = asyncio.ensure_future(current.sweep.swept(sweep_id, request))
        try:
            while not (await asyncio.wait({sweeping}, timeout=_REFRESH_S))[0]:
                progress.update(tracker.counts, tracker.phase)
        except asyncio.CancelledError:
            await end(sweeping)
            progress.update(tracker.counts, "cancelled")
            raise
        report = SweepReport.model_validate(sweeping.result())
        progress.update(report.counts, "done")
        return report
