"""The way into the ledger: shared transactions, and no request that suffers for another."""

import asyncio
from collections.abc import Sequence

import pytest

from api.entrance import Entrance
from crucible.errors import StoreError
from crucible.ids import new_evaluation_id
from crucible.models import Evaluation
from crucible.store import Submission
from tasks.background import BackgroundServices


class Ledger:
    """Takes what is submitted, one transaction after the other, once it may."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.may_write = asyncio.Event()
        self.refused: str | None = None
        self.fault: type[Exception] = StoreError

    async def submit(self, submissions: Sequence[Submission]) -> None:
        """As ``Store.submit`` does."""
        await self.may_write.wait()
        names = [each.evaluation.id for each in submissions]
        if self.refused in names:
            raise self.fault(f"{self.refused} refused")
        self.transactions.append(names)


def called(*names: str) -> list[Submission]:
    """Evaluations of these names."""
    return [
        Submission(new_evaluation_id(), Evaluation(id=each, language="python", code="")) for each in names
    ]


def opened(ledger: Ledger) -> Entrance:
    """The way into ``ledger``."""
    entrance = Entrance(ledger.submit)
    entrance.open(BackgroundServices())
    return entrance


async def test_what_comes_meanwhile_shares_the_next_transaction() -> None:
    ledger = Ledger()
    entrance = opened(ledger)
    entering = [asyncio.create_task(entrance.enter(called(f"{i}a", f"{i}b"))) for i in range(5)]
    await asyncio.sleep(0)
    ledger.may_write.set()
    await asyncio.gather(*entering)
    written = [name for transaction in ledger.transactions for name in transaction]
    assert written == [f"{i}{letter}" for i in range(5) for letter in "ab"]
    assert len(ledger.transactions) <= 2
    await entrance.enter(called("later"))
    assert ledger.transactions[-1] == ["later"]


@pytest.mark.parametrize("fault", [StoreError, ValueError])
async def test_one_that_is_refused_takes_no_other_with_it(fault: type[Exception]) -> None:
    ledger = Ledger()
    ledger.fault = fault
    entrance = opened(ledger)
    ledger.refused = "2"
    entering = [asyncio.create_task(entrance.enter(called(str(i)))) for i in range(5)]
    await asyncio.sleep(0)
    ledger.may_write.set()
    async with asyncio.timeout(30):
        results = await asyncio.gather(*entering, return_exceptions=True)
    assert [type(each) for each in results] == [type(None), type(None), fault, type(None), type(None)]
    assert sorted(name for transaction in ledger.transactions for name in transaction) == ["0", "1", "3", "4"]


async def test_who_hangs_up_is_entered_all_the_same() -> None:
    ledger = Ledger()
    entrance = opened(ledger)
    entering = asyncio.create_task(entrance.enter(called("gone")))
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    ledger.may_write.set()
    await entrance.enter(called("stayed"))
    assert sorted(name for transaction in ledger.transactions for name in transaction) == ["gone", "stayed"]
