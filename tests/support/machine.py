"""What all test processes on this machine share, those of other runs too: a folder and locks in it."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def shared_folder() -> Path:
    """A folder that stays; its path is short enough for a socket's."""
    folder = Path(tempfile.gettempdir()) / f"crucible-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep all others from what is called ``name``. The kernel unlocks it when this process dies."""
    with (shared_folder() / f"{name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(name: str, start: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Use, at the same time as other processes, what the first one starts and the last one stops.

    ``start`` has to leave alone what is there already, after a process that was killed.
    """
    with (shared_folder() / f"{name}.users").open("ab") as users:
        with locked(name):
            start()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with locked(name), suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_UN)
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stop()
