"""What breakers do for the legs: real workers and servers, executors that fail when told to."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from crucible.errors import ServiceUnavailable
from crucible.models import Leg
from crucible.settings import BreakerSettings, CelerySettings, LegacySettings
from tasks.celery_leg.client import CeleryClient
from tasks.claims import claim_key, mark_key
from tasks.legacy_leg.client import LegacyClient
from tasks.resilience.breaker import CELERY_REDIS, REDIS, Breakers, breakers
from tests.support.leg_fixtures import Servers, on_empty_servers, servers
from tests.support.legs import CONCURRENCY, Flow, LegHarness, dispatch, dispatches
from tests.support.stub_executor import StubExecutor
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

__all__ = ["servers"]

MINIMUM = BreakerSettings().minimum
MOST_BEFORE_OPEN = MINIMUM + CONCURRENCY
"""Calls that may be under way when the last one is counted that opens it."""


@pytest.fixture
def legacy(servers: Servers) -> Iterator[LegHarness]:
    """The legacy leg on empty servers."""
    with on_empty_servers("legacy", servers) as made:
        yield made


@pytest.fixture
def celery(servers: Servers) -> Iterator[LegHarness]:
    """The Celery leg on empty servers."""
    with on_empty_servers("celery", servers) as made:
        yield made


@pytest.fixture
async def flow(request: pytest.FixtureRequest) -> AsyncIterator[Flow]:
    """The sender and reader of the leg that the test asks for."""
    leg = "legacy" if "legacy" in request.fixturenames else "celery"
    sender = Flow(request.getfixturevalue(leg))
    yield sender
    await sender.aclose()


def environment(harness: LegHarness, *others: StubExecutor) -> dict[str, str]:
    """What a worker is told: names of executors, patience with each attempt, a breaker that stays open."""
    number = 1 if harness.leg == "legacy" else 3
    return {
        f"CRUCIBLE_EXECUTOR_{number}_URL": harness.executor.url,
        "CRUCIBLE_LEGACY_EXECUTOR_URLS": ",".join([harness.executor.url, *(each.url for each in others)]),
        "CRUCIBLE_WORKER_RETRY_S": "60",
        "CRUCIBLE_BREAKER_OPEN_S": "60",
    }


async def test_legacy_work_moves_to_the_second_executor(legacy: LegHarness, flow: Flow) -> None:
    second = StubExecutor()
    second.start()
    legacy.executor.status = 503
    legacy.start_worker(**environment(legacy, second))
    runs = dispatches(60)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    assert {reply.kind for reply in flow.replies} == {"answer"}
    assert set(second.requests) == {run.run_id for run in runs}
    assert MINIMUM <= legacy.executor.posts <= MOST_BEFORE_OPEN
    second.stop()


async def test_with_all_its_executors_open_legacy_reports_faults_without_asking_them(
    legacy: LegHarness, flow: Flow
) -> None:
    legacy.executor.status = 503
    legacy.start_worker(**environment(legacy))
    runs = dispatches(40)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    assert {reply.kind for reply in flow.replies} == {"fault"}
    assert "executor-1 unavailable: breaker open until" in str(flow.replies[-1].fault)
    assert legacy.executor.posts <= MOST_BEFORE_OPEN


async def test_celery_work_waits_until_its_executor_is_back(celery: LegHarness, flow: Flow) -> None:
    celery.executor.status = 503
    celery.start_worker(**environment(celery) | {"CRUCIBLE_BREAKER_OPEN_S": "1"})
    runs = dispatches(12)
    await flow.send(runs)
    client, window_s = celery.redis.client(), BreakerSettings().window_s
    await eventually(lambda: breakers(client, ["executor-3"], window_s)[0].state == "open")
    key = next(key for run in runs if client.exists(key := claim_key(run.run_id, "celery")))
    left, renewals = client.pttl(key), 0

    def is_renewed_twice() -> bool:
        nonlocal left, renewals
        before, left = left, client.pttl(key)
        renewals += left > before
        return renewals >= 2

    await eventually(is_renewed_twice)
    assert not flow.replies
    celery.executor.status = 200
    await flow.read_until_all_reported(runs)
    assert Counter(reply.kind for reply in flow.replies) == {"answer": len(runs)}
    assert set(celery.executor.requests) == {run.run_id for run in runs}


async def test_a_celery_leg_without_executor_is_reported_unavailable(celery: LegHarness, flow: Flow) -> None:
    never = StubExecutor()
    never.start()
    celery.executor.status = 503
    extra = {"CRUCIBLE_BREAKER_PARK_S": "0.5", "CRUCIBLE_EXECUTOR_1_URL": never.url}
    celery.start_worker(**environment(celery, never) | extra)
    runs = dispatches(8)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    assert {reply.kind for reply in flow.replies} == {"fault"}
    assert all("executor-3 unavailable: breaker open until" in str(reply.fault) for reply in flow.replies)
    assert celery.executor.posts <= MOST_BEFORE_OPEN
    assert never.connections == 0, "no legacy executor may answer for Celery"
    never.stop()


async def test_a_run_that_was_cancelled_is_not_waited_for(celery: LegHarness, flow: Flow) -> None:
    celery.executor.status = 503
    celery.start_worker(**environment(celery) | {"CRUCIBLE_BREAKER_PARK_S": "600"})
    runs = dispatches(CONCURRENCY)
    await flow.send(runs)
    client, window_s = celery.redis.client(), BreakerSettings().window_s
    await eventually(lambda: breakers(client, ["executor-3"], window_s)[0].state == "open")
    for run in runs:
        client.set(mark_key(run.run_id), 1)
    await flow.read_until_all_reported(runs)
    assert celery.executor.posts <= MOST_BEFORE_OPEN


@pytest.mark.parametrize("leg", ["legacy", "celery"])
async def test_a_broker_that_is_away_is_left_alone_and_comes_back(
    leg: Leg, servers: tuple[Valkey, Valkey]
) -> None:
    redis, celery_redis = servers
    redis.client().flushall()
    gates = Breakers(redis.url, BreakerSettings(minimum=4, open_s=0.5), {})
    client: LegacyClient | CeleryClient
    if leg == "legacy":
        server = redis
        client = LegacyClient(redis.url, LegacySettings(), gates.own(REDIS))
    else:
        server = celery_redis
        client = CeleryClient(celery_redis.url, CelerySettings(), gates.shared(CELERY_REDIS))
    run = dispatch(f"broker-{leg}.0")
    server.stop()
    try:
        reasons = []
        while not reasons or "breaker open" not in reasons[-1]:
            assert len(reasons) < 4
            with pytest.raises(ServiceUnavailable) as caught:
                await client.send([run])
            reasons.append(str(caught.value))
    finally:
        server.start()

    sent = False
    while not sent:
        try:
            await client.send([run])
        except ServiceUnavailable:
            continue
        sent = True
    await client.aclose()
    gates.close()
