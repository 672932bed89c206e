"""When callers are told to come again. The clock is played."""

from hypothesis import given
from hypothesis import strategies as st

from api.load import Pace


class Clock:
    """Goes on when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def told(waiting: int, per_s: int, seconds: int = 30) -> int:
    """What is said when so many wait in a queue that so many have left each second."""
    clock = Clock()
    pace = Pace(clock)
    for left in range(seconds, 0, -1):
        pace.look(left * per_s)
        clock.now += 1
    pace.look(0)
    pace.look(waiting)
    return pace.retry_after_s


def test_the_longer_the_queue_and_the_slower_it_moves_the_later() -> None:
    assert [told(waiting, per_s=100) for waiting in (200, 1000, 5000)] == [1, 5, 25]
    assert told(1000, per_s=10) == 50


def test_what_left_long_ago_says_nothing() -> None:
    clock = Clock()
    pace = Pace(clock)
    for waiting in (100_000, 0, 1000):
        pace.look(waiting)
    assert pace.retry_after_s == 1
    clock.now += 61
    assert pace.retry_after_s == 60


def test_before_anything_has_left_nobody_knows_and_so_it_is_late() -> None:
    assert told(5000, per_s=0) == 60
    assert told(0, per_s=0) == 1


@given(st.integers(0, 10_000), st.integers(0, 100), st.integers(0, 5000))
def test_it_is_always_between_a_second_and_a_minute(per_s: int, seconds: int, waiting: int) -> None:
    assert 1 <= told(waiting, per_s, seconds) <= 60
