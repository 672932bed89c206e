"""The flows that send whole corpora through both legs: the sweep, and the parity sweep with its verdict."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import structlog
from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from crucible import errors
from crucible.corpus import read, validate
from crucible.errors import InputError
from crucible.ids import new_evaluation_ids, new_sweep_id
from crucible.models import Classification, Evaluation, SweepReport, Verdict
from crucible.report.write import write_report
from crucible.settings import Settings, WebhookSettings, load
from crucible.store import Submission
from crucible.store.ownership import CANCELLED, NOT_SWEPT
from crucible.verdict import MIN_EVALUATIONS
from executors.client import languages_of_all
from executors.languages import LANGUAGES
from flows.artifacts import publish_artifacts, publish_verdict
from flows.confirm import confirm_mismatches
from flows.corpora import BUNDLED, corpus_files, write_recorded
from flows.evaluate import evaluated
from flows.flow_runs import announced_sweep_id, is_passing_fault, unless_cancelled
from flows.forms import (
    Corpora,
    IgnoreExpectations,
    Limit,
    MinEvaluations,
    Notify,
    Recorded,
    WhenToNotify,
)
from flows.host import FlowHost, Tracker, current_host, settle_cancelled_sweep, settling_if_it_fails
from flows.notify import notify
from flows.outcome import Outcome, SweepRequest, report_on
from flows.process import FlowOptions, flow_options
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


@flow(name="parity-sweep", persist_result=False)
async def parity_sweep(
    *,
    corpora: Corpora = (BUNDLED,),
    recorded: Recorded = 0,
    limit: Limit = 0,
    min_evaluations: MinEvaluations = MIN_EVALUATIONS,
    ignore_expectations: IgnoreExpectations = False,
    notify: WhenToNotify = Notify.FAIL,
) -> State[Any]:
    """Run evaluations on both legs, compare the answers byte for byte, and judge.

    Ends as Failed when the verdict is fail, as Completed when it is pass and as Inconclusive when there
    was too little to judge by. Languages that no executor runs here are left out and counted as such.
    """
    host = current_host()
    sweep_id = announced_sweep_id(flow_run.tags or ()) or new_sweep_id()
    work = _judged(
        host,
        sweep_id,
        corpora,
        recorded,
        notify,
        limit=limit or None,
        min_evaluations=min_evaluations,
        ignore_expectations=ignore_expectations,
    )
    # What is open in it the flow ``sweep`` has settled then.
    settle = partial(host.store.ownership.end_sweep, sweep_id, CANCELLED)
    state: State[Any] = await host.flow_runs.run(str(flow_run.id), work, settle)
    return state


async def _judged(
    host: FlowHost, sweep_id: str, corpora: Sequence[str], recorded: int, when: Notify, **asked: Any
) -> State[Any]:
    options = flow_options(load(Settings))
    try:
        with TemporaryDirectory(prefix="crucible-recorded-") as folder:
            files = await _files(host, corpora, recorded, Path(folder))
            report = await _swept(sweep_id, options, files, asked)
    except errors.Cancelled as error:
        return Cancelled(message=str(error))
    except InputError as error:
        await host.store.ownership.end_sweep(sweep_id, NOT_SWEPT)
        return Failed(message=f"not swept: {error}")
    return await _published(report, options, when)


async def _files(host: FlowHost, corpora: Sequence[str], recorded: int, folder: Path) -> tuple[Path, ...]:
    files = corpus_files(corpora)
    if recorded:
        replayed = folder / "recorded.jsonl"
        number = await write_recorded(host.store, recorded, replayed)
        get_run_logger().info("replaying %d recorded evaluations", number)
        files += (replayed,) if number else ()
    if not files:
        raise InputError("there is nothing to sweep: no corpus is named, and no recorded evaluation is there")
    return files


async def _swept(
    sweep_id: str, options: FlowOptions, files: tuple[Path, ...], asked: dict[str, Any]
) -> SweepReport:
    await asyncio.to_thread(validate, files, LANGUAGES, LANGUAGES)
    at = options.endpoints
    languages = await asyncio.to_thread(languages_of_all, at.executor_urls, at.executor_token)
    request = SweepRequest(corpora=files, languages=languages, prefect_url=options.prefect_url, **asked)
    return await swept(sweep_id, request)


async def _published(report: SweepReport, options: FlowOptions, when: Notify) -> State[Any]:
    """The end state of the flow run. Who waits for a failed verdict hears of it before files are written."""
    note = f"nobody was told, as asked: {when}"
    if when.is_due(report.verdict):
        note = (await notify(load(WebhookSettings), _event(report, options))).note
    get_run_logger().info("%s", note)
    page = write_report(report, options.home / "reports" / report.sweep_id)
    await publish_verdict(report, page, options.api_url, note)
    said = f"{report.verdict}: {'; '.join(report.reasons)}"
    match report.verdict:
        case Verdict.PASS:
            return Completed(message=said)
        case Verdict.FAIL:
            return Failed(message=said)
        case Verdict.INCONCLUSIVE:
            return Completed(name="Inconclusive", message=said)


def _event(report: SweepReport, options: FlowOptions) -> dict[str, object]:
    """What others are told: numbers and where to look, and no word of any program."""
    return {
        "event": "parity-sweep",
        "sweep_id": report.sweep_id,
        "verdict": report.verdict,
        "counts": report.counts.model_dump(),
        "reasons": report.reasons,
        "flow_run_url": f"{options.prefect_url}/runs/flow-run/{flow_run.id}",
    }
