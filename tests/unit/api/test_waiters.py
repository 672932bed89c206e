"""Comparisons reach those who wait for them, and nothing is kept of those who do no more."""

from api.orders import Waiters
from tests.support.ledger import comparison


async def test_nothing_is_kept_of_those_who_wait_no_more() -> None:
    waiters = Waiters()
    with waiters.awaiting(["a", "b"]):
        with waiters.awaiting(["b"]):
            assert waiters._futures.keys() == {"a", "b"}
        assert waiters._futures.keys() == {"a", "b"}
        assert len(waiters._futures["b"]) == 1
    assert not waiters._futures
    waiters.answer(comparison("a"))
    assert not waiters._futures
