"""What holds for the legacy queue alone: order, leases, dead letters, payloads of others."""

from collections.abc import AsyncIterator, Iterator
from typing import cast

import orjson
import pytest
import redis

from crucible.settings import LegacySettings
from tasks.dead_letters import DeadLetters
from tasks.legacy_leg.client import LegacyClient
from tasks.legacy_leg.queue import LegacyQueue, decode
from tests.support.legs import STREAM, Flow, LegHarness, dispatch
from tests.support.stub_executor import StubExecutor
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

SETTINGS = LegacySettings(max_attempts=2, reap_every_s=0.02)


@pytest.fixture
def client(valkey: Valkey) -> redis.Redis:
    """A client of an empty server."""
    connection = valkey.client()
    connection.flushall()
    return connection


@pytest.fixture
def queue(client: redis.Redis) -> LegacyQueue:
    """The queue of workers whose leases are over at once."""
    return LegacyQueue(client, SETTINGS, lease_ms=-2_000)


@pytest.fixture
async def sender(valkey: Valkey, client: redis.Redis) -> AsyncIterator[LegacyClient]:
    """The sending end."""
    leg = LegacyClient(valkey.url, SETTINGS)
    yield leg
    await leg.aclose()


def taken_ids(queue: LegacyQueue, number: int) -> list[str]:
    """The ids of the next ``number`` payloads."""
    payloads = [queue.take() for _ in range(number)]
    return [decode(payload, SETTINGS).run_id for payload in payloads if payload]


async def test_payloads_come_by_priority_and_then_in_order(queue: LegacyQueue, sender: LegacyClient) -> None:
    runs = [dispatch(f"p{priority}-{turn}", priority) for turn in range(2) for priority in (0, 9, 5)]
    await sender.send(runs)
    assert taken_ids(queue, 7) == ["p9-0", "p9-1", "p5-0", "p5-1", "p0-0", "p0-1"]


async def test_a_payload_whose_lease_is_over_is_first_in_line_again(
    queue: LegacyQueue, sender: LegacyClient
) -> None:
    await sender.send([dispatch("first"), dispatch("second")])
    assert taken_ids(queue, 1) == ["first"]
    assert queue.reap("w") == []
    assert taken_ids(queue, 2) == ["first", "second"]


async def test_the_lease_of_a_payload_outlives_the_claim_of_whoever_took_it(
    client: redis.Redis, sender: LegacyClient
) -> None:
    await sender.send([dispatch("taken")])
    seconds, _ = cast("tuple[int, int]", client.time())
    payload = LegacyQueue(client, SETTINGS, lease_ms=60_000).take()
    assert payload is not None
    assert cast("float", client.zscore(SETTINGS.leases_key, payload)) > seconds * 1000 + 60_000


async def test_a_ring_wakes_one_who_waits(
    queue: LegacyQueue, sender: LegacyClient, client: redis.Redis
) -> None:
    await sender.send([dispatch("first"), dispatch("second")])
    queue.listen()
    assert client.llen(SETTINGS.doorbell_key) == 1


async def test_copies_of_a_lost_payload_become_one(
    queue: LegacyQueue, sender: LegacyClient, client: redis.Redis
) -> None:
    await sender.send([dispatch("twice"), dispatch("twice")])
    assert taken_ids(queue, 2) == ["twice", "twice"]
    client.delete(f"{SETTINGS.leases_key}:reaper")
    dead = queue.reap("w")
    assert dead == [] or len(dead) == 1
    assert client.llen(SETTINGS.processing_key) == 0


async def test_a_payload_taken_too_often_is_a_dead_letter(
    queue: LegacyQueue, sender: LegacyClient, client: redis.Redis
) -> None:
    await sender.send([dispatch("poison")])
    for expected in ([], ["poison"]):
        assert taken_ids(queue, 1) == ["poison"]
        client.delete(f"{SETTINGS.leases_key}:reaper")
        assert [decode(payload, SETTINGS).run_id for payload in queue.reap("w")] == expected
    (letter,) = DeadLetters(client, "legacy").all()
    assert (letter.run_id, letter.taken, letter.queue) == ("poison", 2, "evals:queue:5")
    assert letter.reason == "taken 2 times and never answered"
    assert client.exists(SETTINGS.processing_key, SETTINGS.leases_key, SETTINGS.attempts_key) == 0


async def test_two_reapers_do_not_repeat_each_other(
    client: redis.Redis, sender: LegacyClient, queue: LegacyQueue
) -> None:
    slow = LegacyQueue(client, LegacySettings(reap_every_s=60), lease_ms=-2_000)
    slow.reap("one")
    await sender.send([dispatch("lost")])
    queue.take()
    slow.reap("two")
    assert client.llen(SETTINGS.processing_key) == 1


async def test_the_doorbell_does_not_grow(sender: LegacyClient, client: redis.Redis) -> None:
    for _ in range(5):
        await sender.send([dispatch(f"ring-{number}") for number in range(50)])
    assert client.llen(SETTINGS.doorbell_key) <= 64


@pytest.fixture
def harness(valkey: Valkey, client: redis.Redis) -> Iterator[LegHarness]:
    """The leg without a worker."""
    executor = StubExecutor()
    executor.start()
    leg = LegHarness("legacy", valkey, valkey, executor)
    yield leg
    leg.close()
    executor.stop()


async def test_a_payload_nobody_can_read_is_buried_and_the_next_is_run(
    harness: LegHarness, client: redis.Redis
) -> None:
    client.rpush("evals:queue:5", b"not json", b'{"id": 1}', b"[]")
    harness.start_worker()
    flow, run = Flow(harness), dispatch("readable")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    await flow.aclose()
    await eventually(lambda: len(list(DeadLetters(client, "legacy").all())) == 3)
    assert client.llen(SETTINGS.processing_key) == 0
    letters = {letter.payload: letter for letter in DeadLetters(client, "legacy").all()}
    assert set(letters) == {b"not json", b'{"id": 1}', b"[]"}
    assert "b'not json' cannot be read" in letters[b"not json"].reason
    assert {(each.run_id, each.taken, each.queue) for each in letters.values()} == {
        (None, 1, "evals:queue:5")
    }


async def test_a_dead_letter_is_reported_as_a_fault(harness: LegHarness, client: redis.Redis) -> None:
    run = dispatch("dead")
    flow = Flow(harness)
    await flow.send([run])
    abandoned = LegacyQueue(client, SETTINGS, lease_ms=-2_000)
    assert abandoned.take()
    harness.start_worker(CRUCIBLE_LEGACY_MAX_ATTEMPTS="1")
    await flow.read_until_all_reported([run])
    await flow.aclose()
    assert flow.replies[0].kind == "fault"
    assert "dead letter" in str(flow.replies[0].fault)


async def test_a_queue_with_other_names_is_served(harness: LegHarness, client: redis.Redis) -> None:
    names = {
        "QUEUE_KEY": "acme:p{priority}",
        "ID_FIELD": "job",
        "LANGUAGE_FIELD": "lang",
        "CODE_FIELD": "source",
        "REPLY_FIELD": "answer_on",
    }
    payload = orjson.dumps({"job": "acme-1", "lang": "python", "source": "x", "answer_on": STREAM, "team": 7})
    client.rpush("acme:p9", payload)
    harness.start_worker(**{f"CRUCIBLE_LEGACY_{name}": value for name, value in names.items()})
    flow = Flow(harness)
    await flow.read_until_all_reported([dispatch("acme-1")])
    await flow.aclose()
    assert flow.replies[0].kind == "answer"
