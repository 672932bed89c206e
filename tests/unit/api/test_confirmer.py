"""In which groups mismatches are confirmed."""

import asyncio
from collections.abc import Sequence

from api.confirmer import CROWD, Confirmer
from tests.support.waiting import eventually


class Confirmations:
    """Plays the confirming; notes the groups."""

    def __init__(self, *, fails_first: bool = False) -> None:
        self.groups: list[list[str]] = []
        self._fails = fails_first
        self.confirmer = Confirmer(self._confirm)

    async def _confirm(self, evaluation_ids: Sequence[str]) -> None:
        self.groups.append(list(evaluation_ids))
        await asyncio.sleep(0)
        if self._fails:
            self._fails = False
            raise ConnectionError("no Prefect")

    async def all_of(self, evaluation_ids: Sequence[str]) -> list[list[str]]:
        """The groups in which ``evaluation_ids`` are confirmed."""
        for each in evaluation_ids:
            self.confirmer.put(each)
        running = asyncio.create_task(self.confirmer.run())
        await eventually(lambda: sum(map(len, self.groups)) == len(evaluation_ids))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert sorted(each for group in self.groups for each in group) == sorted(evaluation_ids)
        return self.groups


async def test_a_few_mismatches_are_confirmed_each_on_its_own() -> None:
    assert all(len(group) == 1 for group in await Confirmations().all_of(["a", "b", "c"]))


async def test_a_crowd_of_mismatches_is_confirmed_together() -> None:
    ids = [str(number) for number in range(10 * CROWD)]
    assert len(await Confirmations().all_of(ids)) < CROWD


async def test_a_confirmation_that_fails_does_not_stop_the_others() -> None:
    ids = [str(number) for number in range(5)]
    assert len(await Confirmations(fails_first=True).all_of(ids)) == 5
