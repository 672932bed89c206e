"""File systems without room: the store's, and that of either Redis."""

import asyncio
import errno
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import REDISES, ChaosError

_STORE_FULL_S = 15
_REDIS_FULL_S = 30
_BOUND_S = 45
_POSTED = 20
_FILL_EVERY_S = 0.05
_CHUNKS = (1 << 20, 1 << 12)


async def _full(scene: Scene, name: str, seconds: float) -> None:
    if name not in scene.stack.small_disks:
        raise ChaosError(f"{name} has no file system of its own")
    ballast = scene.stack.home / name / "ballast"
    try:
        await asyncio.to_thread(_fill, ballast, seconds)
    finally:
        ballast.unlink(missing_ok=True)


def _fill(ballast: Path, seconds: float) -> None:
    """Keep the file system full: what others free is taken at once."""
    deadline = time.monotonic() + seconds
    with ballast.open("wb", buffering=0) as file:
        while time.monotonic() < deadline:
            for size in _CHUNKS:
                with suppress(_NoRoom):
                    while True:
                        _write(file.fileno(), size)
            time.sleep(_FILL_EVERY_S)


class _NoRoom(Exception):
    """The file system is full."""


def _write(descriptor: int, size: int) -> None:
    try:
        if os.write(descriptor, bytes(size)) < size:
            raise _NoRoom
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _NoRoom from error
        raise


def _needs_root() -> str | None:
    return None if os.geteuid() == 0 else "only root can make a small file system"


def _of(name: str, seconds: float) -> Fault:
    return Fault(
        f"disk of {name} full",
        f"no room on the file system of {name} for {seconds:g} s",
        _BOUND_S,
        partial(_full, name=name, seconds=seconds),
        posted=_POSTED,
        impossible=_needs_root,
    )


FAULTS = (_of("store", _STORE_FULL_S), *(_of(name, _REDIS_FULL_S) for name in REDISES))
