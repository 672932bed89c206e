"""Pauses that executors ask for: bounded one by one and in all, and never shorter than asked below that."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import RetryCallState, Retrying

from crucible.errors import ExecutorFault
from crucible.retries import Patience
from executors.gates import LONGEST_S, OpenGate, Pauses, Turns

PATIENCE = Patience(within_s=5.0, attempts=10)


def call(asked_s: float, granted_s: float = 120.0) -> tuple[Pauses, RetryCallState]:
    """A call whose first attempt was refused with ``asked_s``."""
    fault = ExecutorFault("executor-1", "429", "busy", asked_s)
    turns = Turns([OpenGate("executor-1")], lambda _: "answered", lambda _: True, lambda _: asked_s)
    state = RetryCallState(Retrying(), None, (), {})
    turns.before(state)
    state.set_exception((ExecutorFault, fault, None))
    assert turns.retry(state)
    return Pauses(PATIENCE, turns, granted_s), state


@given(st.floats(0, 1e9))
def test_a_pause_is_at_least_as_long_as_asked_for_and_at_most_so_long_as_is_sensible(asked_s: float) -> None:
    began = time.monotonic()
    pauses, state = call(asked_s)
    waited = pauses.wait(state)
    passed = time.monotonic() - began
    assert min(asked_s - passed, LONGEST_S) <= waited <= LONGEST_S + PATIENCE.longest_pause_s


def test_many_that_wait_for_the_same_do_not_come_at_once() -> None:
    pauses, state = call(asked_s=20)
    assert len({round(pauses.wait(state), 4) for _ in range(20)}) > 10


@pytest.mark.parametrize(("granted_s", "goes_on"), [(0.0, False), (120.0, True)])
def test_only_so_much_of_what_is_asked_for_is_granted_beside_the_time_for_retries(
    granted_s: float, *, goes_on: bool
) -> None:
    pauses, state = call(asked_s=20, granted_s=granted_s)
    state.upcoming_sleep = pauses.wait(state)
    assert pauses.stop(state) is not goes_on


def test_a_call_ends_although_it_is_asked_to_wait_again_and_again() -> None:
    pauses, state = call(asked_s=1e9)
    state.start_time = time.monotonic()
    for attempt in range(1, PATIENCE.attempts + 1):
        state.attempt_number = attempt
        state.upcoming_sleep = pauses.wait(state)
        state.start_time -= state.upcoming_sleep  # as if it had been slept through
        state.outcome_timestamp = time.monotonic()
        if pauses.stop(state):
            return
    raise AssertionError("it goes on without end")
