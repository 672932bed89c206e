"""Work on an event loop that the user's signals end in good order."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from crucible.errors import Cancelled, CrucibleError

T = TypeVar("T")

_LOOK_EVERY_S = 0.5
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns or raises, run in a thread of its own; to be called in the main thread.

    Ctrl-C, SIGTERM and SIGHUP cancel it and raise ``SystemExit`` (128 + number) when it has cleaned up;
    a second one does not wait for that. Prefect replaces the handler of SIGTERM while a flow runs by one
    that raises wherever the event loop happens to be, but only where the flow runs in the main thread.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()
    outcome: Future[T] = Future()

    async def begin() -> T:
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await work

    def serve() -> None:
        try:
            outcome.set_result(asyncio.run(begin()))
        except BaseException as error:  # noqa: BLE001  (the edge of a thread: raised again in the main one)
            outcome.set_exception(error)

    threading.Thread(target=serve, name="foreground", daemon=True).start()
    loop, task = started.result()
    with _ended_by_signals(loop, task) as received:
        # Looked at again and again: the kernel may hand a signal to another thread, which wakes nobody here.
        while not wait([outcome], _LOOK_EVERY_S).done:
            pass
        try:
            return outcome.result()
        except Cancelled:
            if received:
                raise SystemExit(128 + received[0]) from None
            raise
        except CrucibleError:
            raise
        except BaseException:
            if received:
                raise SystemExit(128 + received[0]) from None
            raise


@contextmanager
def _ended_by_signals(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> Iterator[list[int]]:
    """The first signal cancels ``task``; the list yielded then has its number."""
    received: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1 or task is None:
            raise SystemExit(128 + number)
        loop.call_soon_threadsafe(task.cancel)

    with endings_handled(end):
        yield received


@contextmanager
def endings_handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have ``handler`` called for Ctrl-C, SIGTERM and SIGHUP meanwhile, but for those that are ignored.

    What was started under nohup wants to outlive its terminal.
    """
    kept = {number: signal.getsignal(number) for number in _ENDINGS}
    handled = [number for number, former in kept.items() if former is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, kept[number])
