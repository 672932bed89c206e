"""Clocks that jump by an hour, of the two Redis servers or of the workers."""

from functools import partial

from tests.chaos.clocks import library
from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import ChaosError

_HOUR_S = 3600
_BOUND_S = 60


async def _jump(scene: Scene, whose: str, by_s: int) -> None:
    clocks = scene.stack.clocks
    if clocks is None:
        raise ChaosError("this stack's clocks cannot be set")
    clocks.jump(whose, by_s)


def _needs_library() -> str | None:
    return None if library() else "libfaketime is not installed (Debian: faketime)"


def _of(whose: str, name: str, by_s: int) -> Fault:
    return Fault(
        f"clock of {whose} {name}",
        f"the time of day of {whose} jumps {name} by an hour, and stays so",
        _BOUND_S,
        partial(_jump, whose=whose, by_s=by_s),
        faked_clocks=True,
        impossible=_needs_library,
    )


FAULTS = tuple(
    _of(whose, name, by_s)
    for whose in ("servers", "workers")
    for name, by_s in (("ahead", _HOUR_S), ("back", -_HOUR_S))
)
