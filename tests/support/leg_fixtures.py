"""Fixtures of tests that run over both legs: import those that are used, and name them in ``__all__``."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from crucible.models import LEGS, Leg
from tests.support.legs import Flow, LegHarness
from tests.support.stub_executor import StubExecutor
from tests.support.valkey import Valkey

Servers = tuple[Valkey, Valkey]
"""The Redis of replies and legacy queue, and Celery's."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Both, for the tests of one module."""
    both = Valkey(), Valkey()
    for server in both:
        server.start()
    yield both
    for server in both:
        server.remove()


@contextmanager
def on_empty_servers(leg: Leg, servers: Servers) -> Iterator[LegHarness]:
    """A leg without a worker; its executor runs no code."""
    for server in servers:
        server.client().flushall()
    executor = StubExecutor()
    executor.start()
    harness = LegHarness(leg, *servers, executor)
    yield harness
    harness.close()
    executor.stop()


@pytest.fixture(params=LEGS)
def harness(request: pytest.FixtureRequest, servers: Servers) -> Iterator[LegHarness]:
    """A leg on empty servers, without a worker."""
    with on_empty_servers(request.param, servers) as made:
        yield made


@pytest.fixture
async def flow(harness: LegHarness) -> AsyncIterator[Flow]:
    """The sender and reader of the leg."""
    sender = Flow(harness)
    yield sender
    await sender.aclose()
