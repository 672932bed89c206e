"""What processes that run flows have in common: command line, log, end, exit status.

Prefect replaces the handler of SIGTERM while a flow runs by one that raises wherever the event loop
happens to be. Blocked, the signals reach no handler, but only the thread that asks for them.
"""

import argparse
import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from crucible.errors import CrucibleError, InputError, SettingsError
from crucible.logging import configure_logging
from crucible.settings import Settings
from crucible.telemetry.process import api_of_process, tracing
from flows.host import Endpoints

READY_LINE = "CRUCIBLE_READY"
WITH_CONTROLLER = "--with-controller"

_ENDINGS = (signal.SIGINT, signal.SIGTERM)
_EXIT_BAD_INPUT = 2
_EXIT_FAULT = 4


def run_process(name: str, serve: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run ``serve``, with logs and traces under ``name``, until it returns; the exit status.

    It is 2 on a setting that cannot be used and 4 when a needed server is away, with one line that says so.
    """
    _block_endings()
    configure_logging(service=name)
    try:
        with tracing(name, api_of_process()):
            asyncio.run(serve())
    except CrucibleError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_BAD_INPUT if isinstance(error, InputError) else _EXIT_FAULT
    return 0


def is_controller(about: str | None) -> bool:
    """Whether the command line of a process, which is ``about`` that, asks for a controller in it.

    Exits with 2 on anything else.
    """
    parser = argparse.ArgumentParser(description=about, allow_abbrev=False)
    parser.add_argument(
        WITH_CONTROLLER, action="store_true", help="be a controller as well, as python -m flows.controller is"
    )
    return bool(parser.parse_args().with_controller)


def say_ready() -> None:
    """Say on standard output that this process takes work."""
    sys.stdout.write(f"{READY_LINE}\n")
    sys.stdout.flush()


def _block_endings() -> None:
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


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """Where everything is. ``prefect_url`` and ``api_url`` are for links alone; the latter may be unknown."""

    home: Path
    endpoints: Endpoints
    prefect_api_url: str
    prefect_url: str
    api_url: str | None


def flow_options(settings: Settings) -> FlowOptions:
    """The options of this process. Raises ``SettingsError`` naming what is missing or wrong."""
    prefect_api_url = _prefect_api_url(settings)
    return FlowOptions(
        home=settings.home,
        endpoints=Endpoints(
            needed(settings, "database_url"),
            needed(settings, "redis_url"),
            needed(settings, "celery_redis_url"),
            tuple(needed(settings, f"executor_{number}_url") for number in (1, 2, 3)),
            needed(settings, "executor_token"),
        ),
        prefect_api_url=prefect_api_url,
        prefect_url=(settings.prefect_url or prefect_api_url.removesuffix("/api")).rstrip("/"),
        api_url=settings.api_url.rstrip("/") if settings.api_url else None,
    )


def needed(settings: Settings, name: str) -> str:
    """The setting ``name``; raises ``SettingsError`` with its variable when it is not set."""
    value = getattr(settings, name)
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not plain:
        raise SettingsError(
            f"CRUCIBLE_{name.upper()} is not set; this process needs it (`crucible up` sets it by itself)"
        )
    return str(plain)


def _prefect_api_url(settings: Settings) -> str:
    url = needed(settings, "prefect_api_url").rstrip("/")
    used = (PREFECT_API_URL.value() or "").rstrip("/")
    if used != url:
        # Flows would go to another server than the one that readiness asks and links point to.
        raise SettingsError(
            f"PREFECT_API_URL={used!r} is not CRUCIBLE_PREFECT_API_URL={url!r}; set both to the same server"
        )
    return url
