"""What an autoscaler counts is what waits: the names in the manifests are those on the server."""

import pytest

from crucible.models import Leg
from tests.support.kubernetes.rendering import rendered
from tests.support.legs import Flow, LegHarness, dispatch
from tests.support.stub_executor import StubExecutor
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]

_LENGTH = """
local commands = {list = 'LLEN', hash = 'HLEN', none = 'LLEN'}
return redis.call(commands[redis.call('TYPE', KEYS[1]).ok], KEYS[1])
"""
"""A key's length whatever it is, as KEDA asks for it."""


def counted(server: Valkey, scaled_object: str) -> int:
    """The sum of all that the ScaledObject names."""
    triggers = rendered().get("ScaledObject", scaled_object)["spec"]["triggers"]
    with server.client() as client:
        lengths = [client.eval(_LENGTH, 1, each["metadata"]["listName"]) for each in triggers]
    return sum(int(length) for length in lengths)


@pytest.mark.parametrize(("leg", "worker"), [("legacy", "legacy-worker-1"), ("celery", "celery-worker")])
async def test_whatever_waits_is_counted_once_at_every_priority(
    valkey: Valkey, leg: Leg, worker: str
) -> None:
    sender = Flow(LegHarness(leg, valkey, valkey, StubExecutor()))
    try:
        for priority in range(10):
            await sender.send([dispatch(f"at-{priority}-{number}.0", priority) for number in range(2)])
            assert counted(valkey, worker) == 2 * (priority + 1)
    finally:
        await sender.aclose()
