"""Sending to a broker: tried again for a moment, and left alone by its breaker after many failures."""

from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, Retrying

from crucible.errors import CircuitOpen, ServiceUnavailable
from crucible.retries import Patience
from executors.gates import Gate, Outcome, Turns
from tasks.resilience.policy import async_retrying, is_platform_fault, retrying

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
        turns = self._turns()
        tries: Retrying = retrying(self._gate.name, _PATIENCE)
        try:
            tries.copy(before=turns.before, retry=turns.retry)(send)
        except CircuitOpen as error:
            raise ServiceUnavailable(str(error)) from error

    async def awaiting(self, send: Callable[[], Awaitable[None]]) -> None:
        """Awaits ``send``; the gate must be one of this process alone, for it is asked in the event loop."""
        turns = self._turns()
        tries: AsyncRetrying = async_retrying(self._gate.name, _PATIENCE)

        async def attempt() -> None:  # tenacity awaits only what it can tell is a coroutine function
            await send()

        try:
            await tries.copy(before=turns.before, retry=turns.retry)(attempt)
        except CircuitOpen as error:
            raise ServiceUnavailable(str(error)) from error

    def _turns(self) -> Turns:
        return Turns([self._gate], _judge, is_platform_fault)


def _judge(error: BaseException) -> Outcome:
    return "failed" if is_platform_fault(error) else "unknown"
