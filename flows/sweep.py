"""The flow ``sweep``: corpora through both legs, mismatches confirmed, the whole judged."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import structlog
from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from crucible.corpus import read
from crucible.ids import new_evaluation_ids
from crucible.models import Classification, Evaluation, SweepReport
from crucible.store import Submission
from flows.artifacts import publish_artifacts
from flows.cancel import settle_cancelled_sweep, settling_if_it_fails
from flows.confirm import confirm_mismatches
from flows.enduring import is_passing_fault
from flows.evaluate import evaluated
from flows.flow_runs import unless_cancelled
from flows.host import FlowHost, Tracker, current_host
from flows.outcome import Outcome, SweepRequest, report_on
from tasks.events import EventKind


@flow(name="sweep", persist_result=False, validate_parameters=False)
async def sweep(sweep_id: str, request: SweepRequest) -> SweepReport | State[Any]:
    """Run ``request``'s corpora through both legs and judge whether the legs agree.

    The corpora must have been validated. Memory does not grow with their length: lines are read as
    there is room for them, and what was settled is in the store. When the sweep is cancelled or fails,
    what it leaves open is settled as cancelled; in the first case it ends as Cancelled.
    """
    host, flow_run_id = current_host(), str(flow_run.id)
    host.sweeps[sweep_id] = flow_run_id
    try:
        return await host.flow_runs.run(
            flow_run_id,
            _sweep(
                host,
                sweep_id,
                request,
                Outcome(sweep_id, flow_run_id, tally_before=replace(host.exchange.tally)),
            ),
            partial(settle_cancelled_sweep, host, sweep_id),
        )
    finally:
        del host.sweeps[sweep_id]


async def swept(sweep_id: str, request: SweepRequest) -> SweepReport:
    """The report of a flow run ``sweep`` of that name; raises ``errors.Cancelled`` when it was cancelled."""
    flow_run = sweep.with_options(flow_run_name=sweep_id)(sweep_id, request)
    try:
        return await unless_cancelled(cast("Awaitable[SweepReport]", flow_run))
    except Exception as error:
        # It may have come to its end, and only Prefect could not be told.
        report = await current_host().store.sweep(sweep_id) if is_passing_fault(error) else None
        if report is None:
            raise
        structlog.get_logger().warning("Prefect was not told how the sweep ended", reason=str(error))
        return report


async def _sweep(
    host: FlowHost, sweep_id: str, request: SweepRequest, outcome: Outcome
) -> SweepReport | State[Any]:
    # From here on this process hears of it itself.
    if await host.enduring(partial(host.cancellations.marked, [sweep_id])):
        await settle_cancelled_sweep(host, sweep_id)
        return Cancelled(message="cancelled before it began")
    tracker = host.trackers.setdefault(sweep_id, Tracker())
    await host.store.begin_sweep(sweep_id, request.model_dump(mode="json"))
    host.events.put(EventKind.SWEEP_STARTED, {"id": sweep_id})
    with host.listening(tracker.settled), host.listening(outcome.settled):
        tracker.phase = "running"
        outcome.flow_run_ids += await settling_if_it_fails(
            _run_all(host, sweep_id, request, tracker, outcome),
            partial(settle_cancelled_sweep, host, sweep_id),
        )
    tracker.phase = "confirming"
    outcome.flow_run_ids += await confirm_mismatches(host, sweep_id)
    tracker.phase = "reporting"
    report = await report_on(host, request, outcome)
    await host.enduring(partial(host.store.finish_sweep, report))
    told = {"id": sweep_id, "verdict": report.verdict, "counts": report.counts.model_dump()}
    host.events.put(EventKind.SWEEP_FINISHED, told)
    await host.enduring(partial(publish_artifacts, report))
    get_run_logger().info("verdict %s: %s", report.verdict, "; ".join(report.reasons))
    return report


async def _run_all(
    host: FlowHost, sweep_id: str, request: SweepRequest, tracker: Tracker, outcome: Outcome
) -> list[str]:
    """Send batch after batch, never more than ``batches_in_flight`` at once; returns their flow runs' ids."""
    room = asyncio.Semaphore(host.settings.batches_in_flight)
    flow_run_ids: list[str] = []

    async def run_batch(number: int, evaluation_ids: list[str]) -> None:
        try:
            batch = await evaluated(f"{sweep_id} batch {number}", evaluation_ids)
            if batch is not None:
                flow_run_ids.append(batch.flow_run_id)
        finally:
            room.release()

    number = 0
    async with asyncio.TaskGroup() as running:
        async for evaluation_ids in _submitted(host, sweep_id, request, tracker, outcome, room):
            number += 1
            running.create_task(run_batch(number, evaluation_ids))
    return flow_run_ids


async def _submitted(
    host: FlowHost,
    sweep_id: str,
    request: SweepRequest,
    tracker: Tracker,
    outcome: Outcome,
    room: asyncio.Semaphore,
) -> AsyncIterator[list[str]]:
    """Batches of ids that are in the ledger, each when there is room for it; the room is taken."""
    lines = islice(_evaluations(request.corpora), request.limit)
    while evaluations := list(islice(lines, host.settings.batch_size)):
        submissions = [
            Submission(
                new_id,
                evaluation,
                sweep_id,
                None if evaluation.language in request.languages else Classification.NOT_SAMPLED,
            )
            for new_id, evaluation in zip(new_evaluation_ids(len(evaluations)), evaluations, strict=True)
        ]
        await room.acquire()
        await host.enduring(partial(host.store.submit, submissions))
        runnable = [each.id for each in submissions if each.classification is None]
        outcome.skip(each.evaluation.language for each in submissions if each.classification is not None)
        tracker.submitted(runnable, len(submissions) - len(runnable))
        if runnable:
            yield runnable
        else:
            room.release()


def _evaluations(corpora: tuple[Path, ...]) -> Iterator[Evaluation]:
    return (line.evaluation for line in chain.from_iterable(map(read, corpora)))
