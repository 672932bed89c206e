"""Reproducers from the command line: a stack, a flow host, one flow."""

import asyncio
from importlib import import_module

from cli.hosting import Flows, end, flows, stack
from cli.terminal.progress_view import SweepProgress
from crucible.models import Comparison, Counts
from crucible.reproducer import Reproducer
from crucible.settings import Settings


async def run_reproduce(settings: Settings, evaluation_id: str, at_most: int) -> Reproducer | None:
    """Reduce a mismatch of the store; null when it does not show again.

    Raises ``InputError`` when ``evaluation_id`` is no mismatch there.
    """
    async with stack(settings) as state, flows(settings, state) as current:
        return await _reproduced(current, evaluation_id, at_most)


async def _reproduced(current: Flows, evaluation_id: str, at_most: int) -> Reproducer | None:
    flow = import_module("flows.reproduce").reproduce
    with SweepProgress() as progress:
        counts = Counts()

        def tried(comparison: Comparison) -> None:
            nonlocal counts
            counts = counts.with_submitted(1).with_settled(comparison.classification)
            progress.update(counts, "reducing")

        with current.host.listening(tried):
            reducing = asyncio.ensure_future(current.flow_runs.unless_cancelled(flow(evaluation_id, at_most)))
            try:
                await asyncio.wait({reducing})
            except asyncio.CancelledError:
                await end(reducing)
                raise
    found: Reproducer | None = reducing.result()
    return found
