"""Sending to a broker: tried again for a moment, and left alone by its breaker after many failures."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tenacity import AsyncRetrying, Retrying

from crucible.errors import CircuitOpen, ServiceUnavailable
from crucible.retries import Patience, is_platform_fault
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
