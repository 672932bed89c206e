"""Prefect away, and a store without room."""

import asyncio
import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.chaos.door import Mood
from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import ChaosError

_AWAY_S = 60
_FULL_S = 10
_BOUND_S = 45
_FILL_EVERY_S = 0.05
_CHUNK = 4096
_POSTED = 20


async def _prefect_away(scene: Scene) -> None:
    door = scene.stack.doors["prefect"]
    door.mood = Mood.CUT
    scene.stack.signal(["prefect"], signal.SIGKILL)
    try:
        await scene.traffic.post(_POSTED)
        await scene.wait(_AWAY_S)
    finally:
        door.mood = Mood.OPEN


async def _prefect_hangs(scene: Scene) -> None:
    scene.stack.signal(["prefect"], signal.SIGSTOP)
    try:
        await scene.wait(_AWAY_S)
    finally:
        scene.stack.signal(["prefect"], signal.SIGCONT)


async def _disk_full(scene: Scene) -> None:
    if not scene.stack.store_is_small:
        raise ChaosError("the store has no file system of its own")
    ballast = scene.stack.home / "store" / "ballast"
    try:
        await asyncio.to_thread(_fill, ballast, _FULL_S)
    finally:
        ballast.unlink(missing_ok=True)


def _fill(ballast: Path, seconds: float) -> None:
    """Keep the file system full: what others free is taken at once."""
    deadline = time.monotonic() + seconds
    with ballast.open("wb", buffering=0) as file:
        while time.monotonic() < deadline:
            with suppress(_NoRoom):
                while True:
                    _write(file.fileno())
            time.sleep(_FILL_EVERY_S)


class _NoRoom(Exception):
    """The file system is full."""


def _write(descriptor: int) -> None:
    try:
        os.write(descriptor, bytes(_CHUNK))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _NoRoom from error
        raise


def _needs_root() -> str | None:
    return None if os.geteuid() == 0 else "only root can give the store a small file system"


FAULTS = (
    Fault("Prefect away", f"killed, and not to be reached for {_AWAY_S} s", _BOUND_S, _prefect_away),
    Fault("Prefect hangs", f"stopped (SIGSTOP) for {_AWAY_S} s", _BOUND_S, _prefect_hangs),
    Fault(
        "disk full",
        f"no room on the store's file system for {_FULL_S} s",
        _BOUND_S,
        _disk_full,
        impossible=_needs_root,
    ),
)
