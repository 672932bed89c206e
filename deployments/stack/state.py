"""What a running stack says of itself in ``stack.json``, and the lock that proves it is alive."""

import fcntl
import os
import time
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from crucible.models.frozen import Frozen
from deployments.stack.home import Home, write_private

_PROBES_PASS_S = 0.5
_RETRY_S = 0.02


class ServiceState(StrEnum):
    """Where one service stands; ``external`` is one that a setting names and nobody here runs."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    EXTERNAL = "external"


class ServiceStatus(Frozen):
    """One service. ``url`` shows no password."""

    name: str
    state: ServiceState
    pid: int | None
    url: str | None


class StackState(Frozen):
    """A running stack: who runs it, where its parts are and the secrets to use them.

    ``ephemeral`` is a stack that ends with the command that started it.
    """

    pid: int
    started_at: datetime
    ephemeral: bool
    gateway_url: str | None
    api_url: str
    prefect_url: str
    prefect_api_url: str
    flower_url: str | None
    redis_url: str
    celery_redis_url: str
    executor_urls: tuple[str, str, str]
    executor_token: str
    api_key: str
    database_url: str
    services: tuple[ServiceStatus, ...]

    @property
    def is_up(self) -> bool:
        """Whether every service has been ready once, and none is being stopped."""
        down = {ServiceState.STARTING, ServiceState.STOPPED}
        return all(service.state not in down for service in self.services)


class HomeLock:
    """Held by the one process that runs this home's stack. The kernel frees it when that process ends."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock; false when another process has it. What a stack that died left is forgotten."""
        descriptor = os.open(self._home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Those who only look (``is_held``) hold it for an instant, too.
        deadline = time.monotonic() + _PROBES_PASS_S
        while not _locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(descriptor)
                return False
            time.sleep(_RETRY_S)
        self._descriptor = descriptor
        self._home.state.unlink(missing_ok=True)
        return True

    def release(self) -> None:
        """Forgets the state and lets the next one in."""
        if self._descriptor is not None:
            self._home.state.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def is_held(home: Home) -> bool:
    """Whether a process runs the stack of this home."""
    try:
        descriptor = os.open(home.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def read_state(home: Path) -> StackState | None:
    """The stack of the folder ``home``; none when nobody runs it, whatever a killed one left behind."""
    where = Home.at(home)
    if not is_held(where):
        return None
    try:
        return StackState.model_validate_json(where.state.read_bytes())
    except (FileNotFoundError, ValidationError):
        # Not written yet, or by a version with other keys: there is nothing in it to rely on.
        return None


def write_state(home: Home, state: StackState) -> None:
    """Replaces the state as a whole; only its owner can read it."""
    write_private(home.state, state.model_dump_json(indent=2))


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
