"""In which groups mismatches are confirmed."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from api.confirmer import CROWD, MOST_WAITING, Confirmer
from structlog.testing import capture_logs

from tests.support.waiting import eventually


class Confirmations:
    """Plays the confirming; notes the groups."""

    def __init__(self, *, fails_first: bool = False, in_ledger: Sequence[str] = ()) -> None:
        self.groups: list[list[str]] = []
        self.asked: list[timedelta] = []
        self._fails = fails_first
        self._in_ledger = in_ledger
        self.confirmer = Confirmer(self._confirm, self._unconfirmed)

    async def _unconfirmed(self, limit: int, settled_ago: timedelta) -> Sequence[str]:
        self.asked.append(settled_ago)
        done = {each for group in self.groups for each in group}
        return [each for each in self._in_ledger if each not in done][:limit]

    async def _confirm(self, evaluation_ids: Sequence[str]) -> None:
        self.groups.append(list(evaluation_ids))
        await asyncio.sleep(0)
        if self._fails:
            self._fails = False
            raise ConnectionError("no Prefect")

    async def all_of(
        self, evaluation_ids: Sequence[str], expected: Sequence[str] | None = None
    ) -> list[list[str]]:
        """The groups in which ``evaluation_ids`` are confirmed, or those that are ``expected``."""
        expected = evaluation_ids if expected is None else expected
        for each in evaluation_ids:
            self.confirmer.put(each)
        running = asyncio.create_task(self.confirmer.run())
        await eventually(lambda: sum(map(len, self.groups)) >= len(expected))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert sorted(each for group in self.groups for each in group) == sorted(expected)
        return self.groups


async def test_a_few_mismatches_are_confirmed_each_on_its_own() -> None:
    assert all(len(group) == 1 for group in await Confirmations().all_of(["a", "b", "c"]))


async def test_a_crowd_of_mismatches_is_confirmed_together() -> None:
    ids = [str(number) for number in range(10 * CROWD)]
    assert len(await Confirmations().all_of(ids)) < CROWD


async def test_a_confirmation_that_fails_does_not_stop_the_others() -> None:
    ids = [str(number) for number in range(5)]
    assert len(await Confirmations(fails_first=True).all_of(ids)) == 5


async def test_what_finds_no_room_waits_in_the_ledger_told_once_and_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.confirmer._CATCH_UP_EVERY_S", 0.01)
    ids = [f"{number:05}" for number in range(MOST_WAITING + 50)]
    confirmations = Confirmations(in_ledger=ids)
    with capture_logs() as lines:
        groups = await confirmations.all_of(ids)
    assert [each["event"] for each in lines] == ["mismatches wait in the ledger"]
    assert len(groups) < len(ids)


async def test_what_an_earlier_process_left_is_fetched_once() -> None:
    assert await Confirmations(in_ledger=["a"]).all_of([], expected=["a"]) == [["a"]]


async def test_what_a_process_that_is_no_more_leaves_later_is_fetched_when_it_is_a_minute_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.confirmer._CATCH_UP_EVERY_S", 0.01)
    in_ledger: list[str] = []
    confirmations = Confirmations(in_ledger=in_ledger)
    running = asyncio.create_task(confirmations.confirmer.run())
    await eventually(lambda: len(confirmations.asked) > 1)
    in_ledger.append("left behind")
    await eventually(lambda: bool(confirmations.groups))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert confirmations.groups == [["left behind"]]
    assert (confirmations.asked[0], {*confirmations.asked[1:]}) == (timedelta(0), {timedelta(minutes=1)})
