"""kill -9: each kind of process, and two of them at once."""

import signal
from functools import partial
from itertools import combinations
from random import Random

from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import EXECUTORS, REDISES

_POSTED = 60
_KILLED = ("legacy-worker-1", "celery-worker", *EXECUTORS, *REDISES, "prefect", "api")
_PAIRS = 3
_BOUND_S = 45


async def _kill(scene: Scene, services: tuple[str, ...]) -> None:
    scene.stack.signal(services, signal.SIGKILL)


async def _kill_sweep(scene: Scene) -> None:
    scene.sweep.kill()


def _of(service: str) -> Fault:
    what = f"`{service}` is killed"
    posted = _POSTED if service == "api" else 0
    return Fault(f"kill {service}", what, _BOUND_S, partial(_kill, services=(service,)), posted=posted)


def pairs(seed: int) -> tuple[Fault, ...]:
    """Some pairs of processes that are killed at one moment, by chance."""
    chosen = Random(seed).sample(list(combinations(_KILLED, 2)), _PAIRS)
    return tuple(
        Fault(
            f"kill {first} and {second}",
            "two at once, by chance",
            _BOUND_S,
            partial(_kill, services=(first, second)),
            posted=_POSTED,
        )
        for first, second in chosen
    )


FAULTS = (
    *(_of(service) for service in _KILLED),
    Fault(
        "kill flows",
        "the service that runs sweeps from the Prefect UI is killed, with its sweep",
        _BOUND_S,
        partial(_kill, services=("flows",)),
        by_deployment=True,
        ends_sweep=True,
    ),
    Fault(
        "kill the controller",
        "the service that hosts it is killed, with the API whose evaluations it would take over",
        _BOUND_S,
        partial(_kill, services=("flows", "api")),
        posted=_POSTED,
    ),
    Fault(
        "kill the sweep",
        "`crucible sweep` itself is killed; somebody else must settle what it leaves",
        _BOUND_S,
        _kill_sweep,
        ends_sweep=True,
    ),
)
