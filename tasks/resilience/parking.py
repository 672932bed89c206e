"""Waiting for the one executor that may run a program, while its breaker is open."""

import random
from collections.abc import Callable, Collection, Mapping

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay

from crucible.errors import CircuitOpen
from executors.client import ExecutorClient

_LONGEST_PAUSE_S = 1.0
_LEAST_PAUSE_S = 0.05


class Parking:
    """Runs programs on ``executor``, and waits up to ``park_s`` seconds for its breaker to let one pass.

    Nobody else runs the program meanwhile: a parity that another executor made up would be none. Nor
    does it wait for a run that ``cancelled`` names.
    """

    def __init__(
        self, executor: ExecutorClient, park_s: float, cancelled: Callable[[], Collection[str]]
    ) -> None:
        self._executor, self._park_s, self._cancelled = executor, park_s, cancelled

    def execute(
        self, run_id: str, language: str, code: str, stdin: str, limits: Mapping[str, object]
    ) -> bytes:
        """See ``ExecutorClient.execute``; ``CircuitOpen`` comes when that was not long enough."""
        long_enough = stop_before_delay(self._park_s)
        parked = Retrying(
            retry=retry_if_exception_type(CircuitOpen),
            wait=_until_it_may_open,
            stop=lambda state: long_enough(state) or run_id in self._cancelled(),
            before_sleep=_tell_once,
            reraise=True,
        )
        observation: bytes = parked(self._executor.execute, run_id, language, code, stdin, limits)
        return observation


def _until_it_may_open(state: RetryCallState) -> float:
    """Another process may close the breaker before its time, and many threads wait for it here."""
    error = state.outcome.exception() if state.outcome else None
    left_s = error.retry_in_s if isinstance(error, CircuitOpen) else 0.0
    return random.uniform(0.5, 1) * min(max(left_s, _LEAST_PAUSE_S), _LONGEST_PAUSE_S)  # noqa: S311


def _tell_once(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome:
        structlog.get_logger().warning("parked", run_id=state.args[0], reason=str(state.outcome.exception()))
