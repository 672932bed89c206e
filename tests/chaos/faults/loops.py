"""Background loops that end with an error nobody expects."""

import asyncio
import time

import httpx

from tests.chaos.fault import Fault, Scene
from tests.chaos.stack import ChaosError
from tests.support.planted_faults import Planted
from tests.support.stacks import client_of

_BOUND_S = 45
_POSTED = 20
_SHOWN_WITHIN_S = 60
_LOOK_EVERY_S = 0.5


async def _fail_all(scene: Scene) -> None:
    """Have every background service of every process fail once; returns when each is seen to have failed."""
    await asyncio.to_thread(_plant_and_see, scene)


def _plant_and_see(scene: Scene) -> None:
    with client_of(scene.stack.state) as client:
        before = _failures(client)
        for each in before:
            scene.stack.planted.plant(each)
        deadline = time.monotonic() + _SHOWN_WITHIN_S
        while unharmed := [
            each for each, number in _failures(client).items() if number <= before.get(each, -1)
        ]:
            if time.monotonic() > deadline:
                raise ChaosError(f"services that were to fail have not: {unharmed}")
            time.sleep(_LOOK_EVERY_S)


def _failures(client: httpx.Client) -> dict[Planted, int]:
    services = client.get("/ready").json().get("services", [])
    return {Planted(each["process"], each["name"]): each["failures"] for each in services}


FAULTS = (
    Fault(
        "every loop fails",
        "each background service of each process ends once, with an error nobody expects",
        _BOUND_S,
        _fail_all,
        posted=_POSTED,
    ),
)
