"""The folder that holds everything of one local stack: state, secrets, logs, data."""

from dataclasses import dataclass
from pathlib import Path

from crucible.errors import SettingsError
from crucible.store.database import sqlite_url


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
