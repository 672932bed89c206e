"""The folder that holds everything of one local stack: state, secrets, logs, data."""

import os
import secrets
from dataclasses import dataclass
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
