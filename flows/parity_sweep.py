"""The flow ``parity-sweep``: a sweep that anyone can start from the Prefect UI, or a schedule by itself."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from crucible import errors
from crucible.corpus import validate
from crucible.errors import InputError
from crucible.ids import new_sweep_id
from crucible.models import SweepReport, Verdict
from crucible.report.write import write_report
from crucible.settings import Settings, WebhookSettings, load
from crucible.store.ownership import CANCELLED, NOT_SWEPT
from crucible.verdict import MIN_EVALUATIONS
from executors.client import languages_of_all
from executors.languages import LANGUAGES
from flows.artifacts import publish_verdict
from flows.corpora import BUNDLED, corpus_files, write_recorded
from flows.forms import (
    Corpora,
    IgnoreExpectations,
    Limit,
    MinEvaluations,
    Notify,
    Recorded,
    WhenToNotify,
)
from flows.host import FlowHost, current_host
from flows.notify import notify
from flows.options import FlowOptions, flow_options
from flows.outcome import SweepRequest
from flows.prefect_client import announced_sweep_id
from flows.sweep import swept


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
    token = options.executor_token.get_secret_value()
    languages = await asyncio.to_thread(languages_of_all, options.executor_urls, token)
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
