"""What breakers do for the legs: real workers and servers, executors that fail when told to."""

from collections import Counter

import pytest

from crucible.errors import ServiceUnavailable
from crucible.models import LEGS, Leg
from crucible.settings import BreakerSettings, CelerySettings, LegacySettings
from tasks.celery_leg.client import CeleryClient
from tasks.claims import claim_key, mark_key
from tasks.legacy_leg.client import LegacyClient
from tasks.resilience.breaker import CELERY_REDIS, REDIS, Breakers, breakers
from tests.support.leg_fixtures import flow, harness, servers
from tests.support.legs import CONCURRENCY, Flow, LegHarness, dispatch, dispatches
from tests.support.stub_executor import StubExecutor
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

__all__ = ["flow", "harness", "servers"]

MINIMUM = BreakerSettings().minimum
MOST_BEFORE_OPEN = MINIMUM + CONCURRENCY
"""Calls that may be under way when the last one is counted that opens it."""
EXECUTOR_OF = {"legacy": "executor-1", "celery": "executor-3"}


def environment(harness: LegHarness, *others: StubExecutor) -> dict[str, str]:
    """What a worker is told: names of executors, patience with each attempt, a breaker that stays open."""
    name = EXECUTOR_OF[harness.leg].upper().replace("-", "_")
    return {
        f"CRUCIBLE_{name}_URL": harness.executor.url,
        "CRUCIBLE_LEGACY_EXECUTOR_URLS": ",".join([harness.executor.url, *(each.url for each in others)]),
        "CRUCIBLE_WORKER_RETRY_S": "60",
        "CRUCIBLE_BREAKER_OPEN_S": "60",
    }


async def until_it_is_open(harness: LegHarness) -> None:
    """Wait for the breaker of the leg's executor to open."""
    client, name, window_s = harness.redis.client(), EXECUTOR_OF[harness.leg], BreakerSettings().window_s
    await eventually(lambda: breakers(client, [name], window_s)[0].state == "open")


@pytest.mark.parametrize("harness", ["legacy"], indirect=True)
async def test_legacy_work_moves_to_the_second_executor(harness: LegHarness, flow: Flow) -> None:
    second = StubExecutor()
    second.start()
    harness.executor.status = 503
    harness.start_worker(**environment(harness, second))
    runs = dispatches(60)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    assert {reply.kind for reply in flow.replies} == {"answer"}
    assert set(second.requests) == {run.run_id for run in runs}
    assert MINIMUM <= harness.executor.posts <= MOST_BEFORE_OPEN
    second.stop()


async def test_work_waits_until_an_executor_is_back(harness: LegHarness, flow: Flow) -> None:
    harness.executor.status = 503
    harness.start_worker(**environment(harness) | {"CRUCIBLE_BREAKER_OPEN_S": "1"})
    runs = dispatches(12)
    await flow.send(runs)
    await until_it_is_open(harness)
    client = harness.redis.client()
    key = next(key for run in runs if client.exists(key := claim_key(run.run_id, harness.leg)))
    left, renewals = client.pttl(key), 0

    def is_renewed_twice() -> bool:
        nonlocal left, renewals
        before, left = left, client.pttl(key)
        renewals += left > before
        return renewals >= 2

    await eventually(is_renewed_twice)
    assert not flow.replies
    harness.executor.status = 200
    await flow.read_until_all_reported(runs)
    assert Counter(reply.kind for reply in flow.replies) == {"answer": len(runs)}
    assert set(harness.executor.requests) == {run.run_id for run in runs}


async def test_a_leg_without_executor_is_reported_unavailable(harness: LegHarness, flow: Flow) -> None:
    harness.executor.status = 503
    harness.start_worker(**environment(harness) | {"CRUCIBLE_BREAKER_PARK_S": "0.5"})
    runs = dispatches(8)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    assert {reply.kind for reply in flow.replies} == {"fault"}
    reason = f"{EXECUTOR_OF[harness.leg]} unavailable: breaker open until"
    assert all(reason in str(reply.fault) for reply in flow.replies)
    assert harness.executor.posts <= MOST_BEFORE_OPEN


@pytest.mark.parametrize("harness", ["celery"], indirect=True)
async def test_no_executor_of_legacy_answers_for_celery(harness: LegHarness, flow: Flow) -> None:
    never = StubExecutor()
    never.start()
    harness.executor.status = 503
    extra = {"CRUCIBLE_BREAKER_PARK_S": "0", "CRUCIBLE_EXECUTOR_1_URL": never.url}
    harness.start_worker(**environment(harness, never) | extra)
    runs = dispatches(3)
    await flow.send(runs)
    await flow.read_until_all_reported(runs)
    assert {reply.kind for reply in flow.replies} == {"fault"}
    assert never.connections == 0
    never.stop()


async def test_a_run_that_was_cancelled_is_not_waited_for(harness: LegHarness, flow: Flow) -> None:
    harness.executor.status = 503
    harness.start_worker(**environment(harness) | {"CRUCIBLE_BREAKER_PARK_S": "600"})
    runs = dispatches(CONCURRENCY)
    await flow.send(runs)
    await until_it_is_open(harness)
    client = harness.redis.client()
    for run in runs:
        client.set(mark_key(run.run_id), 1)
    await flow.read_until_all_reported(runs)
    assert harness.executor.posts <= MOST_BEFORE_OPEN


@pytest.mark.parametrize("leg", LEGS)
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
