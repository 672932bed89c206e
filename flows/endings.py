"""SIGTERM and Ctrl-C in processes that run flows.

Prefect replaces the handler of SIGTERM while a flow runs by one that raises wherever the event loop
happens to be. Blocked, the signals reach no handler, but only the thread that asks for them.
"""

import asyncio
import signal
import threading
from collections.abc import Callable

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
