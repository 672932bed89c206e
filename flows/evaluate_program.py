"""The flow ``evaluate-program``: one program that somebody hands in by the form of the Prefect UI."""

import asyncio
from functools import partial
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import ValidationError

from crucible.errors import InputError
from crucible.ids import new_evaluation_id
from crucible.models import Classification, Comparison, Evaluation, Limits
from crucible.report.sides import differing_fields
from crucible.settings import Settings, load
from crucible.store import Submission
from executors.client import languages_of_all
from flows.artifacts import evaluation_page, render_comparison
from flows.cancel import settle_cancelled
from flows.confirm import confirm
from flows.evaluate import seen_through
from flows.forms import Code, Language, Priority, ProgramLimits, Stdin, Tags
from flows.host import FlowHost, current_host
from flows.options import FlowOptions, flow_options
from tasks.batch import Batch

_WELL = {Classification.MATCH, Classification.NONDETERMINISTIC, Classification.NOT_SAMPLED}


@flow(name="evaluate-program", persist_result=False)
async def evaluate_program(
    *,
    language: Language,
    code: Code,
    stdin: Stdin = "",
    priority: Priority = 5,
    limits: ProgramLimits = Limits(),  # noqa: B008 (frozen)
    tags: Tags = (),
) -> State[Any]:
    """Run one program as the migration stands, compare what the legs saw, and show it.

    It is traffic, as what comes in by the API is. Ends as Failed when the legs answered differently or one
    did not answer, and as Cancelled when it was cancelled: both legs have stopped then.
    """
    host, new_id = current_host(), new_evaluation_id()
    asked = {"language": language, "code": code, "stdin": stdin, "priority": priority, "tags": tags}
    try:
        evaluation = Evaluation(id=new_id, limits=limits, **asked)
        await _refuse_unless_run_here(flow_options(load(Settings)), language)
    except ValidationError as error:
        first = error.errors()[0]
        return Failed(message=f"not evaluated: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except InputError as error:
        return Failed(message=f"not evaluated: {error}")
    await host.enduring(partial(host.store.submit, [Submission(new_id, evaluation, is_traffic=True)]))
    get_run_logger().info("evaluation %s", evaluation_page(new_id) or new_id)
    state: State[Any] = await host.flow_runs.run(
        str(flow_run.id), _evaluated(host, new_id), partial(settle_cancelled, host, [new_id])
    )
    return state


async def _refuse_unless_run_here(options: FlowOptions, language: str) -> None:
    token = options.executor_token.get_secret_value()
    here = await asyncio.to_thread(languages_of_all, options.executor_urls, token)
    if language not in here:
        raise InputError(f"no executor runs {language!r} here; they run {', '.join(sorted(here))}")


async def _evaluated(host: FlowHost, evaluation_id: str) -> State[Any]:
    batch = await seen_through(host, [evaluation_id], 0, str(flow_run.id))
    if not isinstance(batch, Batch):
        return batch
    comparison = batch.comparisons[0]
    if comparison.classification is Classification.MISMATCH:
        (comparison,) = await confirm(host, [comparison])
    await host.exchange.forget(batch.run_ids)
    await acreate_markdown_artifact(
        render_comparison(comparison, evaluation_page(evaluation_id)),
        key="comparison",
        description=f"What both legs saw of {evaluation_id}: **{comparison.classification}**.",
    )
    said = _in_words(comparison)
    return Completed(message=said) if comparison.classification in _WELL else Failed(message=said)


def _in_words(comparison: Comparison) -> str:
    differing = differing_fields(comparison)
    return f"{comparison.classification}: {differing} differ" if differing else str(comparison.classification)
