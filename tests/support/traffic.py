"""Traffic for a store without legs: evaluations are submitted, and settled as a test has them end."""

from collections.abc import Iterable
from typing import Any

from crucible.ids import new_evaluation_ids
from crucible.models import Classification, Comparison
from crucible.rollout.stage import Stage
from crucible.store import Settled, Store, Submission
from crucible.store.rollout import Change
from tests.support.ledger import comparison, evaluation, observation

MATCH, MISMATCH = Classification.MATCH, Classification.MISMATCH


async def submitted(store: Store, number: int = 1, **changes: object) -> list[str]:
    """Ids of so many new evaluations of traffic, each named by its number."""
    ids = new_evaluation_ids(number)
    await store.submit(
        [Submission(new_id, evaluation(f"e{n}", **changes), is_traffic=True) for n, new_id in enumerate(ids)]
    )
    return ids


async def matched(store: Store, number: int, **changes: object) -> list[str]:
    """Ids of so many evaluations of traffic on which both legs agreed."""
    ids = await submitted(store, number, **changes)
    await store.settle([comparison(each) for each in ids])
    return ids


async def mismatched(store: Store, number: int = 1, *, critical: bool = False) -> list[str]:
    """Ids of so many confirmed mismatches; a critical one ends with another exit code."""
    ids = await submitted(store, number)
    for each in ids:
        first = differing(each, critical=critical)
        await store.settle([first])
        for run in range(1, 4):
            await store.add_run(each, run, first.legacy, first.celery)
        await store.reclassify(first.model_copy(update={"reruns": 3}))
    return ids


def differing(evaluation_id: str, *, critical: bool = False) -> Comparison:
    """A pair that disagrees, in what was printed or also in how it ended."""
    found = comparison(evaluation_id, MISMATCH)
    if not critical or found.celery is None:
        return found
    return found.model_copy(update={"celery": found.celery.model_copy(update={"exit_code": 1})})


def by_celery_alone(evaluation_id: str) -> Comparison:
    """What only Celery ran."""
    return comparison(evaluation_id, Classification.NOT_SAMPLED).model_copy(
        update={"legacy": None, "celery": observation("celery")}
    )


async def at_stage(store: Store, stage: Stage, share: float = 100, **changes: Any) -> Change:
    """Put the migration there, whatever the gates say."""
    return await store.rollout.set(
        "test", "so the test wants it", force=True, stage=stage, share=share, **changes
    )


def answers(settled: Settled) -> Iterable[str | None]:
    """Who answered each."""
    return [each.answered_by for each in settled.comparisons]
