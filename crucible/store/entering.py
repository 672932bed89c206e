"""Traffic on its way into the ledger: routed as the migration stands, and counted."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from opentelemetry.trace import Span
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.rollout.epoch import Epoch, strata_of
from crucible.rollout.stage import Rollout, Route, route, without_shadow
from crucible.store.entries import Submission
from crucible.store.rollout_state import read_epoch, read_state
from crucible.store.tally import Moves
from crucible.telemetry.spans import Root, ending, here, link_to, root, text_of


async def enter_traffic(
    connection: AsyncConnection, submissions: Sequence[Submission], *, on_sqlite: bool
) -> dict[str, Route]:
    """The routes of those of ``submissions`` that are traffic, by id, after counting them as waiting."""
    traffic = [each for each in submissions if each.is_traffic]
    if not traffic:
        return {}
    rollout = (await read_state(connection)).rollout
    epoch = await read_epoch(connection, rollout.epoch)
    routes = {each.id: _route(rollout, epoch, each) for each in traffic}
    moves = Moves()
    for each in routes.values():
        moves.enter(each.epoch, each.strata)
    await moves.write(connection, on_sqlite=on_sqlite)
    return routes


def _route(rollout: Rollout, epoch: Epoch, submission: Submission) -> Route:
    found = route(rollout, submission.evaluation, submission.id)
    if submission.alone:
        found = without_shadow(found)
    strata = strata_of(submission.evaluation, epoch.key.policy.strata_tags)
    if submission.reference is not None:
        return found.model_copy(update={"strata": strata, "legs": ("celery",), "authority": "celery"})
    return found.model_copy(update={"strata": strata})


@asynccontextmanager
async def rooted(submissions: Sequence[Submission]) -> AsyncIterator[Mapping[str, str]]:
    """The traceparents of what is being submitted, by id; those of its spans ``submit`` that last as long.

    Where the process makes no traces there are none. A trace in which somebody asked is linked to.
    """
    asked_in = here()
    links = [link_to(asked_in, "asked for here")] if asked_in else []
    begun: dict[str, Span] = {}
    for each in submissions:
        if each.classification is None:
            attributes = {"evaluation": each.id, "language": each.evaluation.language}
            if each.sweep_id is not None:
                attributes["sweep"] = each.sweep_id
            kind = Root.TRAFFIC if each.sweep_id is None else Root.SWEEP
            begun[each.id] = root("submit", kind, attributes, links)
    contexts = {each: span.get_span_context() for each, span in begun.items()}
    with ending(begun.values()):
        yield {each: text_of(context) for each, context in contexts.items() if context.is_valid}
