"""How often and how long what failed is tried again, for every layer; told and counted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog
from opentelemetry.trace import get_current_span
from prometheus_client import Counter
from tenacity import (
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)
from tenacity.stop import stop_base

from crucible.errors import ExecutorFault, ExecutorUnavailable, ServiceUnavailable, StoreError


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on: to the end of the attempts or of the time, whichever comes first.

    Pauses are of random length, from nothing to a bound that doubles from the first to the longest.
    """

    within_s: float
    attempts: int = 10
    first_pause_s: float = 0.05
    longest_pause_s: float = 1.0

    @property
    def stop(self) -> stop_base:
        """For tenacity: no attempt begins after the end."""
        return stop_after_attempt(self.attempts) | stop_before_delay(self.within_s)

    @property
    def wait(self) -> wait_random_exponential:
        """For tenacity: exponential pauses with full jitter."""
        return wait_random_exponential(self.first_pause_s, self.longest_pause_s)

    def options(self, dependency: str, is_passing: Callable[[BaseException], bool]) -> dict[str, Any]:
        """For tenacity: another attempt after an error that ``is_passing``, and in the end that error.

        ``dependency`` is what log lines and metrics say has failed.
        """
        return {
            "retry": retry_if_exception(is_passing),
            "wait": self.wait,
            "stop": self.stop,
            "before_sleep": told(dependency),
            "reraise": True,
        }


def told(dependency: str) -> Callable[[RetryCallState], None]:
    """For tenacity's ``before_sleep``: tells log, span and metrics that there will be another attempt.

    ``dependency`` is what failed, unless the error knows better.
    """

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        name, cause = dependency, type(error).__name__
        if isinstance(error, ExecutorFault):
            name, cause = error.executor, error.cause
        about: dict[str, str | int | float] = {
            "dependency": name,
            "attempt": state.attempt_number,
            "cause": cause,
            "reason": str(error),
            "wait_s": round(state.upcoming_sleep, 3),
        }
        structlog.get_logger().warning("tried again", **about)
        get_current_span().add_event("tried again", about)
        _retries().labels(name, cause).inc()

    return tell


@cache
def _retries() -> Counter:
    return Counter("crucible_retries", "Attempts that followed one that failed.", ("dependency", "cause"))


def is_platform_fault(error: BaseException) -> bool:
    """Whether ``error`` says that a part of the platform was away or failed, so that it may soon be over.

    An open breaker is none of these: it is there so that nobody tries.
    """
    return isinstance(error, (ExecutorUnavailable, ServiceUnavailable, StoreError))
