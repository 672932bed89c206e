"""The folder that holds everything of one local stack: state, secrets, logs, data."""

import fcntl
import os
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from crucible.errors import SettingsError
from crucible.models.frozen import Frozen
from crucible.store.database import sqlite_url

_BYTES = 32


@dataclass(frozen=True, slots=True)
class Home:
    """Where the files of one stack are. ``root`` is absolute, for parts of it run in other folders."""

    root: Path

    @classmethod
    def at(cls, folder: Path) -> "Home":
        """The home in ``folder``; nothing is created yet."""
        return cls(folder.expanduser().absolute())

    @property
    def state(self) -> Path:
        """What is running, while something is."""
        return self.root / "stack.json"

    @property
    def lock(self) -> Path:
        """Locked by the process that runs the stack."""
        return self.root / "lock"

    @property
    def secrets(self) -> Path:
        """Token, key and password of this home."""
        return self.root / "secrets.json"

    @property
    def database_url(self) -> str:
        """The store, when no other is set."""
        return sqlite_url(self.root / "crucible.db")

    def log(self, name: str) -> Path:
        """The log of one service, or of ``stack`` itself."""
        return self.root / "logs" / f"{name}.log"

    def create(self) -> None:
        """Makes the folder if need be; raises ``SettingsError`` when files cannot be written in it."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.root / "logs").mkdir(exist_ok=True)
            self.lock.touch(mode=0o600)
        except OSError as error:
            why = "it is no folder" if isinstance(error, FileExistsError) else error.strerror
            raise SettingsError(
                f"CRUCIBLE_HOME={str(self.root)!r} cannot be used: {why};"
                " name a folder that can be written to"
            ) from error


class Credentials(Frozen):
    """What the parts of a stack show to each other, and users to the API."""

    executor_token: str
    api_key: str
    redis_password: str


def credentials_of(home: Home) -> Credentials:
    """Those of this home, made now if it has none. Raises ``SettingsError`` when the file is damaged."""
    if not home.secrets.exists():
        made = Credentials(**{name: secrets.token_urlsafe(_BYTES) for name in Credentials.model_fields})
        write_private(home.secrets, made.model_dump_json(indent=2))
    try:
        return Credentials.model_validate_json(home.secrets.read_bytes())
    except (ValidationError, OSError) as error:
        raise SettingsError(
            f"{home.secrets} cannot be read as this home's secrets; delete it to have new ones made"
        ) from error


def write_private(path: Path, text: str) -> None:
    """Replaces a file that only its owner may read; readers see the old text or the new, never a part."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


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
