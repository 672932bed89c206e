"""The flow ``rollout``: the migration goes ahead as far as the gates allow, watched in the Prefect UI."""

from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from crucible.rollout.assessment import Assessment
from crucible.rollout.stage import Rollout, Stage
from crucible.rollout.status import Books, Moment, drive
from flows.artifacts import linked, rollout_page
from flows.host import current_host

ACTOR = "flow rollout"

Until = Annotated[
    Stage,
    Field(json_schema_extra={"title": "Until", "description": "Stop when this stage is reached."}),
]
Every = Annotated[
    float,
    Field(
        ge=0.1,
        json_schema_extra={"title": "Seconds between looks", "description": "How often to ask the gates."},
    ),
]
Reason = Annotated[
    str,
    Field(json_schema_extra={"title": "Reason", "description": "Why, for the log of changes."}),
]


@flow(name="rollout", persist_result=False)
async def rollout(
    *, until: Until = Stage.CELERY, every_s: Every = 10, reason: Reason = "the gates said GO"
) -> State[Any]:
    """Take one step after the other whenever every gate says GO, until a stage is reached.

    Ends as Completed there, and as Failed when the migration has turned back: to go forward again takes a
    person. To cancel it leaves the migration where it is.
    """
    host = current_host()
    work = _driven(host.store.rollout, until, every_s, reason)
    state: State[Any] = await host.flow_runs.run(str(flow_run.id), work)
    return state


async def _driven(books: Books, until: Stage, every_s: float, reason: str) -> State[Any]:
    shown: tuple[Rollout, tuple[str, ...]] | None = None
    async for moment in drive(books, ACTOR, reason, until=until, every_s=every_s):
        now = (moment.rollout, _waiting_for(moment.refused))
        if now != shown:
            await _show(moment)
            shown = now
    return _end(moment.rollout)


def _waiting_for(refused: Assessment | None) -> tuple[str, ...]:
    return () if refused is None else tuple(each.name for each in refused.refusing)


async def _show(moment: Moment) -> None:
    """Say where the migration stands, in the log and as an artifact."""
    where = f"{moment.rollout.stage}, Celery answers {moment.rollout.share:g} %"
    gates = () if moment.refused is None else moment.refused.gates
    get_run_logger().info("%s; %s", where, ", ".join(_waiting_for(moment.refused)) or "no gate refuses")
    rows = "\n".join(f"| {each.name} | {each.state} | {each.reason} |" for each in gates)
    table = f"\n\n| gate | state | reason |\n|---|---|---|\n{rows}" if rows else ""
    said = linked("Where the migration stands", rollout_page())
    await acreate_markdown_artifact(f"**{where}**{table}", key="rollout", description=said)


def _end(rollout: Rollout) -> State[Any]:
    if rollout.is_spent:
        return Failed(message=f"turned back to {rollout.stage}: see crucible rollout status")
    return Completed(message=f"the stage is {rollout.stage}")
