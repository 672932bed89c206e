"""Runs mismatches again: a difference that is noise must not fail a sweep, and no other may pass it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

from crucible.confirm import confirmed, is_settled
from crucible.models import Classification, Comparison, Evaluation, Observation
from crucible.normalise import RuleSet
from flows.evaluate import evaluated
from flows.host import FlowHost
from tasks.events import EventKind

_PAGE = 100
_AT_ONCE = 4
_NOT_SEEN = (Classification.UNPAIRED, Classification.CANCELLED)


async def confirm_mismatches(host: FlowHost, sweep_id: str) -> list[str]:
    """Run every mismatch of a sweep again and settle what it is; returns the re-runs' flow run ids.

    The first ``confirm_singly`` get flow runs of their own; the rest go in batches, so that a sweep
    in which everything differs still comes to an end.
    """
    singly = host.settings.confirm_singly
    limit = asyncio.Semaphore(_AT_ONCE)
    flow_run_ids: dict[str, None] = {}

    async def one_group(group: Sequence[Comparison]) -> None:
        async with limit:
            for result in await confirm(host, group):
                flow_run_ids.update(dict.fromkeys(result.flow_run_ids[1:]))

    done = 0
    async for page in _mismatches(host, sweep_id):
        room = max(0, singly - done)
        groups = [[each] for each in page[:room]] + ([page[room:]] if page[room:] else [])
        done += len(page)
        async with asyncio.TaskGroup() as running:
            for group in groups:
                running.create_task(one_group(group))
    return list(flow_run_ids)


async def confirm(host: FlowHost, group: Sequence[Comparison]) -> list[Comparison]:
    """Run the mismatches of ``group`` again together until each is settled; returns them classified anew."""
    work = await host.store.work([each.evaluation_id for each in group])
    evaluations, rules = {each.id: each.evaluation for each in work}, await host.rules.of(work)
    seen: dict[str, list[Comparison]] = {each.evaluation_id: [each] for each in group}
    open_ids = list(seen)
    run = 0
    while open_ids:
        run += 1
        name = f"confirm {group[0].name if len(group) == 1 else f'{len(group)} mismatches'}, run {run}"
        batch = await evaluated(name, open_ids, run)
        if batch is None:
            break  # cancelled; what it would have shown is not known
        for again in batch.comparisons:
            seen[again.evaluation_id].append(again)
            record = partial(host.store.add_run, again.evaluation_id, run, again.legacy, again.celery)
            await host.enduring(record)
        await host.exchange.forget(batch.run_ids)
        planned = host.settings.confirm_runs
        open_ids = [
            each for each in open_ids if not _is_done(evaluations[each], seen[each], planned, rules[each])
        ]
    results = [_classified(evaluations[key], runs, rules[key]) for key, runs in seen.items()]
    for result in results:
        if await host.enduring(partial(host.store.reclassify, result)):
            host.tell(EventKind.CONFIRMED, result)
    return results


def _is_done(evaluation: Evaluation, runs: Sequence[Comparison], planned: int, rules: RuleSet) -> bool:
    if runs[-1].classification in _NOT_SEEN:
        return True  # what cannot be run again stays what it was
    return is_settled(evaluation, _side(runs, "legacy"), _side(runs, "celery"), planned, rules)


def _classified(evaluation: Evaluation, runs: Sequence[Comparison], rules: RuleSet) -> Comparison:
    first, *again = runs
    paired = [each for each in again if each.classification not in _NOT_SEEN]
    result = confirmed(evaluation, first, _side(paired, "legacy"), _side(paired, "celery"), rules)
    flow_run_ids = tuple(flow_run_id for each in runs for flow_run_id in each.flow_run_ids)
    return result.model_copy(update={"flow_run_ids": flow_run_ids})


def _side(runs: Sequence[Comparison], leg: str) -> list[Observation]:
    sides = [each.legacy if leg == "legacy" else each.celery for each in runs]
    return [side for side in sides if side is not None]


async def _mismatches(host: FlowHost, sweep_id: str) -> AsyncIterator[list[Comparison]]:
    after = None
    while page := await host.store.page(sweep_id, [Classification.MISMATCH], after, _PAGE):
        after = page[-1].evaluation_id
        yield list(page)
