"""What comes back from executors is late, wrong, or only a part; and lines to them that are cut."""

from collections.abc import Sequence
from functools import partial

from tests.chaos.door import Mood
from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import EXECUTORS

_LASTS_S = 15
_BOUND_S = 60
"""Breakers that have opened for the second time let nobody pass for ten seconds, and so on."""
_ONE_OF_EACH_LEG = ("executor-1", "executor-3")


async def _spoil(scene: Scene, names: Sequence[str], mood: Mood) -> None:
    doors = [scene.stack.doors[name] for name in names]
    for door in doors:
        door.mood = mood
    try:
        await scene.wait(_LASTS_S)
    finally:
        for door in doors:
            door.mood = Mood.OPEN


def _answers(name: str, what: str, mood: Mood) -> Fault:
    said = f"executor-1 and executor-3 {what} for {_LASTS_S} s"
    return Fault(f"executors {name}", said, _BOUND_S, partial(_spoil, names=_ONE_OF_EACH_LEG, mood=mood))


def _line(name: str, what: str, mood: Mood) -> Fault:
    said = f"between the workers and all executors {what} for {_LASTS_S} s"
    return Fault(f"network {name}", said, _BOUND_S, partial(_spoil, names=EXECUTORS, mood=mood))


FAULTS = (
    _answers("answer slowly", "take four seconds more for every answer", Mood.SLOW),
    _answers("answer 500", "answer every request with status 500", Mood.ERRORS),
    _answers("answer garbage", "answer every request with 200 and what is no JSON", Mood.GARBAGE),
    _answers("answer half", "break off in the middle of every answer", Mood.HALF),
    _line("cut", "connections are reset and refused", Mood.CUT),
    _line("silent", "no byte passes, and nobody is told", Mood.SILENT),
)
