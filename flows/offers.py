"""The deployments that people, schedules and programs can start, and what each of their runs is called."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from crucible.errors import SettingsError
from crucible.report.words import many
from crucible.settings import ScheduleSettings
from flows.corpora import BUNDLED
from flows.evaluate import evaluate
from flows.evaluate_program import evaluate_program
from flows.parity_sweep import parity_sweep
from flows.rollout import rollout
from flows.worker import POOL, WarmWorker


async def provide_pool(client: PrefectClient) -> None:
    """Make the work pool of our worker, unless it is there."""
    template = WarmWorker.get_default_base_job_template()
    made = WorkPoolCreate(
        name=POOL,
        type=WarmWorker.type,
        description="Flows of Crucible, run at once in a process that is warm.",
        base_job_template=template,
    )
    try:
        await client.create_work_pool(made)
    except ObjectAlreadyExists:
        return


async def evaluations() -> RunnerDeployment:
    """The deployment ``evaluate-program/evaluate``, for people to start."""
    return await _deployment(evaluate_program, "evaluate", tags=["evaluation"])


async def batches() -> RunnerDeployment:
    """The deployment ``evaluate/batch``, to which the flow runs of the API belong.

    Prefect's UI lets people cancel the flow runs of deployments, and no others.
    """
    return await _deployment(evaluate, "batch", tags=["evaluation"])


async def sweeps(settings: ScheduleSettings) -> RunnerDeployment:
    """The deployment ``parity-sweep/scheduled``; raises ``SettingsError`` for what is no cron expression.

    One sweep at a time, since it takes what the machine has.
    """
    try:
        schedule = Cron(settings.cron, timezone=settings.timezone) if settings.cron else None
    except ValueError as error:
        raise SettingsError(f"CRUCIBLE_SCHEDULE_CRON={settings.cron!r}: {error}; as in 0 3 * * *") from error
    return await _deployment(
        parity_sweep,
        "scheduled",
        schedule=schedule,
        concurrency_limit=1,
        parameters={"corpora": _absolute(settings.corpora), "recorded": settings.recorded},
        tags=["parity"],
    )


async def rollouts() -> RunnerDeployment:
    """The deployment ``rollout/gated``, for people to start; one at a time, since there is one migration."""
    return await _deployment(rollout, "gated", concurrency_limit=1, tags=["migration"])


def name_of_evaluation(parameters: Mapping[str, Any]) -> str:
    """What a run of ``evaluate-program`` is called: the same for the same program."""
    digest = sha256(str(parameters.get("code", "")).encode("utf-8", "replace")).hexdigest()[:8]
    return f"{parameters.get('language', 'program')} program {digest}"


def name_of_batch(parameters: Mapping[str, Any]) -> str:
    """What a run of ``evaluate`` is called that a person has started."""
    return f"{many(len(parameters.get('evaluation_ids', ())), 'evaluation')} of the ledger"


def name_of_sweep(parameters: Mapping[str, Any]) -> str:
    """What a run of ``parity-sweep`` is called: what it sweeps."""
    what = [Path(each).stem for each in parameters.get("corpora", ())]
    if recorded := parameters.get("recorded"):
        what.append(f"{recorded} recorded")
    return f"parity of {' and '.join(what) or 'nothing'}"


def name_of_rollout(parameters: Mapping[str, Any]) -> str:
    """What a run of ``rollout`` is called: where it leads."""
    return f"rollout until {parameters.get('until', 'celery')}"


async def _deployment(flow: Flow[..., Any], name: str, **more: Any) -> RunnerDeployment:
    return await flow.ato_deployment(
        name,
        description=flow.description,
        entrypoint_type=EntrypointType.MODULE_PATH,
        work_pool_name=POOL,
        **more,
    )


def _absolute(corpora: Iterable[str]) -> list[str]:
    # Sweeps run in this very folder, but whoever reads the form does not know which that is.
    return [name if name == BUNDLED else str(Path(name).absolute()) for name in corpora]
