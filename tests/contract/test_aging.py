"""Aging on both legs: what waits long rises, nothing is lost by it, and what is urgent stays ahead.

Queues and clients are real; ticks are driven by hand, so that no test is about time.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible.models import LEGS, Leg
from flows.duties.aging import QueueAging
from tasks.background import BackgroundServices
from tests.support.legs import dispatch, dispatches
from tests.support.lines import RISING, Line
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

TICKS_TO_THE_TOP = 10
"""The first one sees what is there; nine more have it rise from 0 to 9."""


@pytest.fixture(params=LEGS)
def line(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[Line]:
    """The queue of a leg on an empty server."""
    valkey.client().flushall()
    opened = Line(request.param, valkey)
    yield opened
    opened.close()


def places(line: Line) -> dict[int, int]:
    """How many wait in each priority's list, without the empty ones."""
    return {priority: found.total() for priority, found in line.waiting().items() if found}


def test_what_is_urgent_overtakes_what_waits(line: Line) -> None:
    line.send([dispatch(f"p{priority}", priority) for priority in (0, 5, 9, 3)])
    assert line.take_all() == ["p9", "p5", "p3", "p0"]


def test_what_has_waited_a_whole_period_rises_by_one_and_what_has_not_stays(line: Line) -> None:
    line.send([dispatch("old", 3)])
    assert line.tick() == 0
    line.send([dispatch("young", 3)])
    assert line.tick() == 1
    assert places(line) == {4: 1, 3: 1}
    assert line.take_all() == ["old", "young"]


def test_it_goes_behind_those_of_the_next_priority_that_wait_already(line: Line) -> None:
    line.send([dispatch("low", 4)])
    line.tick()
    line.send([dispatch("there", 5)])
    line.tick()
    line.send([dispatch("later", 5)])
    assert line.take_all() == ["there", "low", "later"]


def test_a_steady_flood_of_the_most_urgent_starves_nothing(line: Line) -> None:
    """Each period as many arrive as are taken, so that strictly by priority the one would wait for ever."""
    line.send(dispatches(7, 9, "first"))
    line.send([dispatch("patient", 0)])
    taken: list[str | None] = []
    for period in range(TICKS_TO_THE_TOP + 2):
        line.tick()
        line.send(dispatches(7, 9, f"flood-{period}"))
        taken += [line.take() for _ in range(7)]
    assert "patient" in taken
    assert None not in taken


def test_a_flood_of_the_least_urgent_delays_an_urgent_one_by_no_more_than_rises_at_once(line: Line) -> None:
    line.send(dispatches(200, 0, "flood"))
    for _ in range(5 * TICKS_TO_THE_TOP):
        line.tick()
    line.send([dispatch("urgent", 9)])
    waited_for = [line.take() for _ in range(RISING + 1)]
    assert waited_for[-1] == "urgent"
    assert waited_for[:-1] == [f"flood-{number}.0" for number in range(RISING)]


def test_before_it_has_aged_a_flood_delays_nothing(line: Line) -> None:
    line.send(dispatches(200, 0, "flood"))
    for _ in range(TICKS_TO_THE_TOP - 1):
        line.tick()
    line.send([dispatch("urgent", 9)])
    assert line.take() == "urgent"


def test_a_flood_that_ages_keeps_its_order_and_is_all_taken(line: Line) -> None:
    runs = dispatches(40, 2, "flood")
    line.send(runs)
    taken = []
    for _ in range(2 * TICKS_TO_THE_TOP):
        line.tick()
        taken.append(line.take())
    assert taken + line.take_all() == [run.run_id for run in runs]


def test_two_who_tick_have_one_tick_in_a_period(line: Line) -> None:
    line.send(dispatches(20, 0))
    workers = [line.aging() for _ in range(8)]
    assert [each.tick() for each in workers] == [0] + [None] * 7


def test_many_who_tick_at_once_have_one_tick_in_a_period(line: Line) -> None:
    line.send(dispatches(20, 0))
    line.tick()
    line.redis.delete(f"crucible:aging:{line.queues[0]}:lock")
    ticks: list[int | None] = []
    workers = [threading.Thread(target=lambda: ticks.append(line.aging().tick())) for _ in range(8)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert sorted(ticks, key=str) == [RISING] + [None] * 7


def test_what_rose_can_be_withdrawn(line: Line) -> None:
    line.send(dispatches(5, 0))
    for _ in range(4):
        line.tick()
    assert line.withdraw([run.run_id for run in dispatches(5, 0)]) == 5
    assert places(line) == {}


def test_what_rose_and_was_withdrawn_holds_up_nobody(line: Line) -> None:
    line.send(dispatches(3 * RISING, 0))
    for _ in range(2):
        line.tick()
    line.withdraw([run.run_id for run in dispatches(RISING, 0)])
    assert line.tick() == RISING


RUN = st.tuples(st.just("send"), st.integers(0, 9))
AGAIN = st.tuples(st.just("again"), st.integers(0, 40))
TAKE = st.tuples(st.just("take"), st.integers(1, 4))
TICK = st.tuples(st.just("tick"), st.integers(1, 3))
WITHDRAW = st.tuples(st.just("withdraw"), st.integers(0, 40))


class Model:
    """What must be in the queue, whatever happens."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.waiting: Counter[str] = Counter()
        self.sent: list[tuple[str, int]] = []
        self.sent_again: set[str] = set()
        self.taken: list[str] = []

    def send(self, priority: int) -> None:
        run_id = f"run-{len(self.sent)}.0"
        self.sent.append((run_id, priority))
        self._put(run_id, priority)

    def again(self, number: int) -> None:
        if self.sent:
            run_id, priority = self.sent[number % len(self.sent)]
            self.sent_again.add(run_id)
            self._put(run_id, priority)

    def take(self, number: int) -> None:
        for _ in range(min(number, self.waiting.total())):
            self._take()

    def tick(self, number: int) -> None:
        for _ in range(number):
            before = self._line.waiting()
            self._line.tick()
            after = self._line.waiting()
            risen = {priority: after[priority] - before[priority] for priority in range(1, 10)}
            assert all(each <= before[priority - 1] for priority, each in risen.items()), "one list at a tick"

    def withdraw(self, number: int) -> None:
        if self.sent:
            run_id, _ = self.sent[number % len(self.sent)]
            assert self._line.withdraw([run_id]) == self.waiting.pop(run_id, 0)

    def check(self) -> None:
        """As much waits as must, and in the end all of it is taken, each priority in its order."""
        found = sum(self._line.waiting().values(), Counter[bytes]())
        assert found.total() == self.waiting.total()

    def finish(self) -> None:
        self.take(self.waiting.total())
        assert self._line.take() is None
        for priority in range(10):
            once = {each for each, its in self.sent if its == priority and each not in self.sent_again}
            order = [each for each in self.taken if each in once]
            assert order == [each for each, _ in self.sent if each in set(order)]

    def _put(self, run_id: str, priority: int) -> None:
        self.waiting[run_id] += 1
        self._line.send([dispatch(run_id, priority)])

    def _take(self) -> None:
        run_id = self._line.take()
        assert run_id is not None
        assert self.waiting[run_id] > 0
        self.waiting[run_id] -= 1
        self.taken.append(run_id)


@given(st.lists(RUN | RUN | AGAIN | TAKE | TICK | TICK | WITHDRAW, max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_ticks_lose_and_double_nothing_and_keep_the_order(line: Line, steps: list[tuple[str, int]]) -> None:
    line.redis.flushall()
    model = Model(line)
    for what, number in steps:
        getattr(model, what)(number)
        model.check()
    model.finish()


async def test_a_redis_that_is_away_for_a_while_stops_no_aging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_QUEUE_AGE_S", "0.05")
    server, services = Valkey(), BackgroundServices()
    with closing(QueueAging("legacy", server.url)) as aging:
        services.every(aging.every_s, "aging", aging.round)
        try:
            await eventually(lambda: services.states()[0].failures > 0)
            server.start()
            with server.client() as client:
                client.rpush("evals:queue:0", b"waits")
                await eventually(lambda: client.llen("evals:queue:9") == 1)
        finally:
            await services.aclose()
            server.remove()


@pytest.mark.parametrize("leg", LEGS)
def test_a_controller_has_the_queue_of_each_leg_age_as_much_as_its_worker_runs_at_once(
    leg: Leg, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRUCIBLE_QUEUE_AGE_S", "3600")
    monkeypatch.setenv(f"CRUCIBLE_{leg.upper()}_CONCURRENCY", "2")
    valkey.client().flushall()
    with closing(Line(leg, valkey)) as line, closing(QueueAging(leg, valkey.url)) as aging:
        line.send(dispatches(5, 3))
        asyncio.run(aging.round())
        line.redis.delete(f"crucible:aging:{line.queues[0]}:lock")
        asyncio.run(aging.round())
        asyncio.run(aging.round())
        assert places(line) == {4: 2, 3: 3}
