"""Both of legacy's executors are left alone for a moment: who asks meanwhile is answered all the same."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis
from structlog.testing import capture_logs

from crucible.errors import CircuitOpen
from crucible.settings import BreakerSettings
from deployments.stack import StackState
from tasks.resilience.breaker import Breakers, circuit_key
from tests.support.stacks import client_of

pytestmark = pytest.mark.stack

OF_LEGACY = ("executor-1", "executor-2")


@pytest.fixture
def opened(stack: StackState) -> Iterator[list[str]]:
    """Breakers that have just opened, as when both executors were restarted; forgotten afterwards."""
    breakers = Breakers(stack.redis_url, BreakerSettings(), {})
    with capture_logs():
        for name in OF_LEGACY:
            gate = breakers.shared(name)
            with suppress(CircuitOpen):  # it may remember failures of tests before
                while True:
                    gate.leave(gate.admit(), "failed")
    breakers.close()
    with redis.Redis.from_url(stack.redis_url) as client:
        yield [name for name in OF_LEGACY if client.exists(circuit_key(name))]
        client.delete(*map(circuit_key, OF_LEGACY))


def test_what_meets_both_breakers_open_waits_until_one_lets_a_probe_pass(
    stack: StackState, opened: list[str]
) -> None:
    assert opened == [*OF_LEGACY]
    with client_of(stack) as client:
        asked = client.post("/evaluations?wait=60", json={"language": "python", "code": "print(6 * 7)"})
    assert asked.json()["classification"] == "match", asked.text
