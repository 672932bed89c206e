"""Prefect away, and Prefect hanging."""

import signal

from tests.chaos.door import Mood
from tests.chaos.fault import Fault, Scene

_AWAY_S = 60
_BOUND_S = 45
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


FAULTS = (
    Fault("Prefect away", f"killed, and not to be reached for {_AWAY_S} s", _BOUND_S, _prefect_away),
    Fault("Prefect hangs", f"stopped (SIGSTOP) for {_AWAY_S} s", _BOUND_S, _prefect_hangs),
)
