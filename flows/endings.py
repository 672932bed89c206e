"""SIGTERM and Ctrl-C in processes that run flows.

Prefect replaces the handler of SIGTERM while a flow runs by one that raises wherever the event loop
happens to be. Blocked, the signals reach no handler, but only the thread that asks for them.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def block_endings() -> None:
    """Keep both signals from every handler, in this process and in those it will start.

    To be called before any thread is started.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)


def call_on_ending(stop: Callable[[], object]) -> None:
    """Have the running event loop call ``stop`` at the first of the signals, which must have been blocked."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        signal.sigwait(_ENDINGS)
        loop.call_soon_threadsafe(stop)

    threading.Thread(target=watch, name="endings", daemon=True).start()


async def unless_ended(work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` returns or raises; null when one of the signals ended it, and it has cleaned up.

    Where the signals have not been blocked, whoever runs the process handles them.
    """
    working = asyncio.ensure_future(work)
    ended = asyncio.Event()

    def end() -> None:
        ended.set()
        working.cancel()

    if signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(_ENDINGS):
        call_on_ending(end)
    try:
        await asyncio.wait({working})
    finally:
        if working.cancel():
            await asyncio.wait({working})
    # Not always as cancelled: Prefect's flows leave with exceptions of their own.
    if ended.is_set() and (working.cancelled() or working.exception()):
        return None
    return working.result()
