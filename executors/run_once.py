"""Runs one program without any queue: ``python -m executors.run_once`` behind ``crucible execute``.

Reads ``{"language", "code", "stdin"?, "limits"?}`` from standard input and prints the observation.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from pydantic import ConfigDict, ValidationError

from crucible.errors import InputError, SandboxUnavailable
from crucible.logging import configure_logging
from crucible.models import Evaluation, Observation, Outcome
from crucible.settings import ExecutorSettings, load
from executors.executor import Executor
from executors.languages import LANGUAGES

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED = 130


class Order(Evaluation):
    """A program as ``crucible execute`` takes it: an evaluation whose name and other keys do not matter."""

    model_config = ConfigDict(extra="ignore")

    id: str = "execute"


async def run_once(order: Order, settings: ExecutorSettings) -> Observation:
    """Run ``order`` in a sandbox of its own; where none can be had the observation is ``sandbox_error``."""
    executor = Executor(settings)
    try:
        await executor.open([order.language])
        return await executor.execute("execute", order.language, order.code, order.stdin, order.limits)
    except SandboxUnavailable as error:
        return Observation(
            outcome=Outcome.SANDBOX_ERROR, executor=settings.name, detail=f"SANDBOX_UNAVAILABLE: {error}"
        )
    finally:
        await executor.close()


def parse(text: bytes) -> Order:
    """The order in ``text``; raises ``InputError`` naming the key that does not fit."""
    try:
        order = Order.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, first['loc'])) or 'standard input'}: {first['msg']}") from error
    if order.language not in LANGUAGES:
        known = ", ".join(sorted(LANGUAGES))
        raise InputError(f"language: nothing runs {order.language!r}; known languages are {known}")
    return order


async def _ended_by_signals(work: Coroutine[Any, Any, Observation]) -> Observation:
    """The result of ``work``, which the first signal that asks us to end cancels, leaving nothing behind."""
    loop, running = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def end() -> None:
        for number in _ENDINGS:
            loop.add_signal_handler(number, _do_nothing)
        running.cancel()

    for number in _ENDINGS:
        loop.add_signal_handler(number, end)
    return await running


def _do_nothing() -> None:
    """Go on with what the first signal has begun."""


def main() -> int:
    """Exit 0 when an observation was made, 2 on input that does not fit, 130 after a signal to end."""
    configure_logging("stderr", logging.WARNING)  # standard output is for the observation alone
    try:
        order = parse(sys.stdin.buffer.read())
        settings = load(ExecutorSettings).model_copy(update={"slots": 1, "warm_containers": 0})
        seen = asyncio.run(_ended_by_signals(run_once(order, settings)))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except asyncio.CancelledError:
        return _INTERRUPTED
    sys.stdout.write(seen.model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
