"""What is tried again, how often, and what is told of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, use_span
from opentelemetry.util.types import Attributes
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tenacity import AsyncRetrying, RetryCallState, Retrying

from crucible.errors import (
    CircuitOpen,
    ExecutorFault,
    ExecutorUnavailable,
    InputError,
    LedgerImbalance,
    ServiceUnavailable,
    StoreError,
)
from crucible.retries import Patience, is_platform_fault

HASTY = Patience(within_s=60, attempts=4, first_pause_s=0.001, longest_pause_s=0.002)


def retrying(dependency: str, patience: Patience) -> Retrying:
    """What tries again where the platform was at fault."""
    return Retrying(**patience.options(dependency, is_platform_fault))


class Failing:
    """Fails with ``error`` so often, and then does not."""

    def __init__(self, error: Exception, times: int = 1_000_000) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "done"

    async def in_a_loop(self) -> str:
        return self()


def retries(dependency: str, cause: str) -> float:
    """How many were counted."""
    labels = {"dependency": dependency, "cause": cause}
    return REGISTRY.get_sample_value("crucible_retries_total", labels) or 0.0


@pytest.mark.parametrize("error", [ExecutorUnavailable("x"), ServiceUnavailable("x"), StoreError("x")])
def test_a_fault_of_the_platform_is_tried_again_until_it_is_over(error: Exception) -> None:
    failing = Failing(error, times=2)
    assert retrying("part", HASTY)(failing) == "done"
    assert failing.calls == 3


@pytest.mark.parametrize(
    "error", [InputError("x"), CircuitOpen("part", 1), LedgerImbalance("x"), ValueError("x"), OSError("x")]
)
def test_what_is_nobodys_passing_fault_is_not_tried_again(error: Exception) -> None:
    failing = Failing(error)
    with pytest.raises(type(error)):
        retrying("part", HASTY)(failing)
    assert failing.calls == 1


async def test_attempts_are_bounded_and_the_last_failure_is_raised() -> None:
    failing = Failing(ServiceUnavailable("away"))
    with pytest.raises(ServiceUnavailable, match="away"):
        retrying("part", HASTY)(failing)
    with pytest.raises(ServiceUnavailable, match="away"):
        await AsyncRetrying(**HASTY.options("part", is_platform_fault))(failing.in_a_loop)
    assert failing.calls == 2 * HASTY.attempts


def test_no_attempt_begins_after_the_time_is_over() -> None:
    failing = Failing(ServiceUnavailable("away"))
    with pytest.raises(ServiceUnavailable):
        retrying("part", Patience(within_s=1e-9, attempts=100))(failing)
    assert failing.calls == 1


@given(st.integers(1, 40))
def test_pauses_are_of_random_length_below_a_bound_that_doubles(attempt: int) -> None:
    patience = Patience(within_s=60, attempts=100, first_pause_s=0.05, longest_pause_s=1.0)
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    assert 0 <= patience.wait(state) <= min(0.05 * 2 ** (attempt - 1), 1.0)


def test_each_retry_is_one_log_line_and_one_count() -> None:
    before = retries("told-part", "ServiceUnavailable")
    with capture_logs() as lines, pytest.raises(ServiceUnavailable):
        retrying("told-part", HASTY)(Failing(ServiceUnavailable("away")))
    assert [(each["event"], each["attempt"], each["cause"]) for each in lines] == [
        ("tried again", attempt, "ServiceUnavailable") for attempt in range(1, HASTY.attempts)
    ]
    assert all(each["reason"] == "away" and each["wait_s"] >= 0 for each in lines)
    assert retries("told-part", "ServiceUnavailable") - before == HASTY.attempts - 1


def test_an_executors_fault_is_counted_under_its_name_and_cause() -> None:
    before = retries("executor-7", "503")
    retrying("executor", HASTY)(Failing(ExecutorFault("executor-7", "503", "answered 503"), times=2))
    assert retries("executor-7", "503") - before == 2


class NotedSpan(NonRecordingSpan):
    """A span that keeps its events."""

    def __init__(self) -> None:
        super().__init__(INVALID_SPAN_CONTEXT)
        self.events: list[tuple[str, Attributes]] = []

    def add_event(self, name: str, attributes: Attributes = None, _timestamp: int | None = None) -> None:
        self.events.append((name, attributes))


def test_each_attempt_that_follows_is_an_event_of_the_span_under_way() -> None:
    span = NotedSpan()
    with use_span(span):
        retrying("redis", HASTY)(Failing(ServiceUnavailable("away"), times=2))
    told = [(name, about["attempt"], about["cause"]) for name, about in span.events]
    assert told == [("tried again", 1, "ServiceUnavailable"), ("tried again", 2, "ServiceUnavailable")]
