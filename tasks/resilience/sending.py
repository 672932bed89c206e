"""Calls behind breakers: sending to a broker, tried again for a moment, and waiting for executors."""

import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type, stop_before_delay

from crucible.errors import CircuitOpen, ServiceUnavailable
from crucible.retries import Patience, is_platform_fault
from executors.client import ExecutorClient
from executors.gates import Gate, Outcome, Turns

_PATIENCE = Patience(within_s=2.0, attempts=3)
"""A blip; what stays unsent is sent again by the exchange in its own time."""


class Sending:
    """Carries calls to the broker behind ``gate``.

    Both ways raise ``ServiceUnavailable`` when the broker did not take it or must be left alone.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def blocking(self, send: Callable[[], None]) -> None:
        """Calls ``send`` in this thread."""
        with _refusal_as_fault():
            Retrying(**self._options())(send)

    async def awaiting(self, send: Callable[[], Awaitable[None]]) -> None:
        """Awaits ``send``; the gate must be one of this process alone, for it is asked in the event loop."""

        async def attempt() -> None:  # tenacity awaits only what it can tell is a coroutine function
            await send()

        with _refusal_as_fault():
            await AsyncRetrying(**self._options())(attempt)

    def _options(self) -> dict[str, Any]:
        turns = Turns([self._gate], _judge, is_platform_fault)
        options = _PATIENCE.options(self._gate.name, is_platform_fault)
        return options | {"before": turns.before, "retry": turns.retry}


@contextmanager
def _refusal_as_fault() -> Iterator[None]:
    try:
        yield
    except CircuitOpen as error:
        raise ServiceUnavailable(str(error)) from error


def _judge(error: BaseException) -> Outcome:
    return "failed" if is_platform_fault(error) else "unknown"


_LONGEST_PAUSE_S = 1.0
_LEAST_PAUSE_S = 0.05


class Parking:
    """Runs programs on ``executor``, and waits up to ``park_s`` seconds while all its breakers are open.

    It does not wait for a run that ``cancelled`` names.
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
