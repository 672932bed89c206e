"""Who may run: slots, the queue before them, and the moments at which someone gives up."""

import asyncio
import contextlib

import pytest

from executors.sandbox.admission import Admission


class Run:
    """A run that holds its turn until ``go_on``; ``held`` once it has it."""

    def __init__(self, admission: Admission, run_id: str) -> None:
        self.held, self.go_on = asyncio.Event(), asyncio.Event()
        self.cancelled: bool | None = None
        self.ended = asyncio.create_task(self._run(admission, run_id))

    async def _run(self, admission: Admission, run_id: str) -> None:
        async with admission.turn(run_id) as turn:
            self.cancelled = turn.cancelled
            turn.end = self.go_on.set
            self.held.set()
            if not turn.cancelled:
                await self.go_on.wait()


async def breath() -> None:
    """Lets everybody get as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def all_slots_are_there(admission: Admission, slots: int) -> None:
    """Fails unless ``slots`` runs get a turn at once, and no more."""
    runs = [Run(admission, f"check-{n}") for n in range(slots + 1)]
    await breath()
    assert [run.held.is_set() for run in runs] == [True] * slots + [False]
    for run in runs:
        run.go_on.set()
    await asyncio.gather(*(run.ended for run in runs))


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    admission = Admission(1)
    runs = [Run(admission, str(n)) for n in range(4)]
    for had_theirs, run in enumerate(runs, 1):
        await breath()
        assert [each.held.is_set() for each in runs].count(True) == had_theirs
        assert run.held.is_set()
        run.go_on.set()
    await asyncio.gather(*(run.ended for run in runs))


async def test_cancelling_one_that_waits_ends_its_waiting_at_once() -> None:
    admission = Admission(1)
    busy, waiting = Run(admission, "busy"), Run(admission, "waiting")
    await breath()
    assert admission.cancel("waiting")
    await waiting.ended
    assert (waiting.cancelled, busy.ended.done()) == (True, False)
    busy.go_on.set()
    await busy.ended
    await all_slots_are_there(admission, 1)


@pytest.mark.parametrize("gives_up", ["cancelled by id", "its caller gone", "both"])
@pytest.mark.parametrize("steps", range(5))
async def test_a_slot_is_never_lost_on_one_who_gives_up(gives_up: str, steps: int) -> None:
    """It does so before the slot is free, once it has it, and while the slot is on its way."""
    admission = Admission(1)
    busy, waiting, behind = (Run(admission, name) for name in ("busy", "waiting", "behind"))
    await breath()
    busy.go_on.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    if gives_up != "its caller gone":
        assert admission.cancel("waiting")
    if gives_up != "cancelled by id":
        waiting.ended.cancel()
    behind.go_on.set()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting.ended
    await behind.ended
    await busy.ended
    await all_slots_are_there(admission, 1)


async def test_two_runs_at_once_need_two_ids() -> None:
    admission = Admission(2)
    run = Run(admission, "a")
    await breath()
    with pytest.raises(ValueError, match="a"):
        await Run(admission, "a").ended
    run.go_on.set()
    await run.ended
    assert admission.present == []
