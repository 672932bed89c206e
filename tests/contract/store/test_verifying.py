"""Verifying holds the books against the ledger as of one moment, whatever goes on meanwhile."""

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.ids import new_evaluation_ids
from crucible.rollout.assessment import Columns
from crucible.store import Store, Submission, replay
from crucible.store.rollout_inputs import read_tallies
from tests.support.ledger import comparison, evaluation, observation, sweep_of
from tests.support.traffic import differing, matched, mismatched, submitted


async def test_what_goes_on_while_it_verifies_is_no_fault(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_id, _ = await sweep_of(store, ["first"])
    await matched(store, 3)
    open_ones = await submitted(store, 2)

    async def then_more(connection: AsyncConnection, epoch: int) -> dict[str, Columns]:
        found = await read_tallies(connection, epoch)
        await store.settle([comparison(each) for each in open_ones])
        await mismatched(store)
        (swept,) = new_evaluation_ids(1)
        await store.submit([Submission(swept, evaluation(), sweep_id)])
        return found

    monkeypatch.setattr(replay, "read_tallies", then_more)
    found = await store.rollout.verify()
    assert (found.faults, found.pairs) == ((), 3)
    monkeypatch.undo()
    found = await store.rollout.verify()
    assert (found.faults, found.pairs) == ((), 6)


async def test_a_mismatch_whose_re_runs_say_noise_is_found_out(store: Store) -> None:
    (evaluation_id,) = await submitted(store, 1, expect={"deterministic": False})
    first = differing(evaluation_id)
    await store.settle([first])
    for run in range(1, 4):
        await store.add_run(evaluation_id, run, first.legacy, observation("celery", b"%d\n" % (run + 2)))
    await store.reclassify(first.model_copy(update={"reruns": 3}))
    (fault,) = (await store.rollout.verify()).faults
    assert "is nondeterministic by its raw pairs, mismatch in the ledger" in fault


@pytest.mark.parametrize("page", [1, 2, 3, 2000])
async def test_every_row_of_the_ledger_is_read_once_whatever_the_page(
    store: Store, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    await matched(store, 3)
    await mismatched(store)
    await submitted(store, 2)
    monkeypatch.setattr(replay, "_PAGE", page)
    assert (await store.rollout.verify()).faults == ()
