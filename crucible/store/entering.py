"""Traffic on its way into the ledger: routed as the migration stands, and counted."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.rollout.epoch import Epoch, strata_of
from crucible.rollout.stage import Rollout, Route, route, without_shadow
from crucible.store.entries import Submission
from crucible.store.rollout_state import read_epoch, read_state
from crucible.store.tally import Moves


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
