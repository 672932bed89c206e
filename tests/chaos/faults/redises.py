"""Either Redis: started again with what it had, without its last second, with nothing; read-only; hanging."""

import asyncio
import shutil
import signal
from functools import partial
from pathlib import Path

from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import REDISES

_LOG = "appendonlydir"
_HANGS_S = 30
_READ_ONLY_S = 15
_NOBODY = 1
_POSTED = 20
_BOUND_S = 45


async def _restart(scene: Scene, name: str) -> None:
    scene.stack.signal([name], signal.SIGTERM)


async def _forget(scene: Scene, name: str, seconds: float | None) -> None:
    """Kill the server and have it come back as it was so many seconds before; without any, empty."""
    log = scene.stack.home / name / _LOG
    kept = log.with_suffix(".kept")
    if seconds is not None:
        await asyncio.to_thread(shutil.copytree, log, kept)
        await scene.wait(seconds)
    # Stopped first: what is put in its place must not be written to, and nothing be put there too late.
    scene.stack.signal([name], signal.SIGSTOP)
    await asyncio.to_thread(_replace, log, kept)
    scene.stack.signal([name], signal.SIGKILL)


def _replace(log: Path, kept: Path) -> None:
    shutil.rmtree(log)
    if kept.exists():
        kept.rename(log)


async def _hang(scene: Scene, name: str) -> None:
    scene.stack.signal([name], signal.SIGSTOP)
    try:
        await scene.wait(_HANGS_S)
    finally:
        scene.stack.signal([name], signal.SIGCONT)


async def _demote(scene: Scene, name: str) -> None:
    """As after a failover of which clients do not know: the server is a replica, and refuses to write."""
    with scene.stack.redis(name) as server:
        server.replicaof("127.0.0.1", _NOBODY)
        try:
            await scene.wait(_READ_ONLY_S)
        finally:
            server.replicaof("NO", "ONE")


def _of(name: str) -> tuple[Fault, ...]:
    return (
        Fault(f"restart {name}", "ends and comes back with its data", _BOUND_S, partial(_restart, name=name)),
        Fault(
            f"{name} without its last second",
            "killed, and comes back as it was a second before",
            _BOUND_S,
            partial(_forget, name=name, seconds=1.0),
        ),
        Fault(
            f"{name} emptied",
            "killed, and comes back with nothing",
            _BOUND_S,
            partial(_forget, name=name, seconds=None),
        ),
        Fault(
            f"{name} read-only",
            f"refuses to write for {_READ_ONLY_S} s, as one that a failover has made a replica",
            _BOUND_S,
            partial(_demote, name=name),
            posted=_POSTED,
        ),
        Fault(f"{name} hangs", f"stopped (SIGSTOP) for {_HANGS_S} s", _BOUND_S, partial(_hang, name=name)),
    )


FAULTS = tuple(fault for name in REDISES for fault in _of(name))
