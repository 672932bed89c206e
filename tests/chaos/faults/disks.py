"""File systems without room: the store's, and that of either Redis."""

import os
from functools import partial

from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import REDISES, ChaosError

_STORE_FULL_S = 15
_REDIS_FULL_S = 30
_BOUND_S = 45
_POSTED = 20


async def _full(scene: Scene, name: str, seconds: float) -> None:
    disk = scene.stack.small_disks[name]
    if disk is None:
        raise ChaosError(f"{name} has no file system of its own")
    with disk.full():
        await scene.wait(seconds)


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
