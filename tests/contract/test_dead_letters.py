"""Dead letters on real servers: what the Celery worker cannot carry, and what is kept of it."""

import json
from base64 import b64encode
from collections.abc import Iterator

import pytest
import redis

from crucible.errors import InputError
from crucible.settings import CelerySettings
from tasks import dead_letters
from tasks.celery_leg.app import queue_keys
from tasks.celery_leg.client import CeleryClient
from tasks.celery_leg.message import arguments, decode, priority_of
from tasks.celery_leg.worker import Undeliverable, taken_key
from tasks.claims import claim_key
from tasks.dead_letters import DeadLetters, leg_and_number
from tests.support.legs import Flow, LegHarness, dispatch
from tests.support.stub_executor import StubExecutor
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]

QUEUE = "c:evaluations\x06\x164"
"""The list of our priority 5."""


@pytest.fixture
def client(valkey: Valkey) -> redis.Redis:
    """A client of an empty server."""
    connection = valkey.client()
    connection.flushall()
    return connection


@pytest.fixture
def harness(valkey: Valkey, client: redis.Redis) -> Iterator[LegHarness]:
    """The Celery leg on one server for all, without a worker."""
    executor = StubExecutor()
    executor.start()
    leg = LegHarness("celery", valkey, valkey, executor)
    yield leg
    leg.close()
    executor.stop()


async def sent(valkey: Valkey, client: redis.Redis, run_id: str) -> bytes:
    """A message as kombu writes it, taken from its list."""
    leg = CeleryClient(valkey.url, CelerySettings())
    await leg.send([dispatch(run_id)])
    await leg.aclose()
    message = client.rpop(QUEUE)
    assert isinstance(message, bytes)
    return message


def letters(client: redis.Redis) -> list[dead_letters.Letter]:
    """Those of the Celery leg."""
    return list(DeadLetters(client, "celery").all())


def altered(message: bytes, **changes: object) -> bytes:
    """The message with other parts."""
    return json.dumps(json.loads(message) | changes).encode()


def body(*parts: object) -> str:
    """A message's body that says ``parts``."""
    return b64encode(json.dumps(parts).encode()).decode()


async def test_a_message_is_read_as_the_worker_reads_it(valkey: Valkey, client: redis.Redis) -> None:
    message = await sent(valkey, client, "plain.0")
    run = decode(message)
    assert (run.run_id, run.code) == ("plain.0", "plain.0")
    assert queue_keys(CelerySettings())[priority_of(message)] == QUEUE
    for unreadable in (
        *(b"", b"\xff", b"[]", b"{}", message[:-1]),
        altered(message, headers={}),
        altered(message, headers={"task": "another.name", "id": "x"}),
        altered(message, body="not base64"),
        altered(message, body=body("no arguments")),
        altered(message, body=body([1, 2, 3], {}, {})),
        altered(message, body=body(list(arguments(dispatch("x"))), {"named": 1}, {})),
        altered(message, body=body(["r.0", "python", "", "", "no limits", "stream"], {}, {})),
        altered(message, **{"content-type": "application/x-python-serialize"}),
        altered(message, **{"content-encoding": "klingon"}),
        altered(message, properties={}),
    ):
        with pytest.raises(InputError, match="cannot be read"):
            decode(unreadable)


async def test_messages_nobody_can_read_are_dead_letters_and_the_next_is_run(
    harness: LegHarness, client: redis.Redis
) -> None:
    message = await sent(harness.celery_redis, client, "x.0")
    # More than the worker may hold at once: none of them may keep its place.
    garbage = [b"not json", b"[]", altered(message, body="?"), altered(message, headers={"task": "no"})]
    garbage += [altered(message, body=body([number])) for number in range(6)]
    worker = harness.start_worker()
    client.lpush(QUEUE, *garbage)
    flow, run = Flow(harness), dispatch("readable.0")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    await flow.aclose()
    assert worker.process.poll() is None
    found = letters(client)
    assert [letter.payload for letter in found] == garbage
    assert {(letter.run_id, letter.taken, letter.queue) for letter in found} == {(None, 1, QUEUE)}
    assert all("cannot be read" in letter.reason for letter in found)
    await eventually(lambda: client.hlen("c:unacked") == 0)


async def test_a_run_that_is_taken_again_and_again_is_a_dead_letter_and_a_fault(
    harness: LegHarness, client: redis.Redis
) -> None:
    flow, run = Flow(harness), dispatch("poison.0")
    harness.executor.hold()
    for _ in range(2):
        worker = harness.start_worker(CRUCIBLE_CELERY_MAX_ATTEMPTS="2")
        before = len(harness.executor.order)
        await flow.send([run])
        await eventually(lambda before=before: len(harness.executor.order) > before)
        worker.kill()
        client.delete(claim_key(run.run_id, "celery"))  # as when its lease is over
    harness.start_worker(CRUCIBLE_CELERY_MAX_ATTEMPTS="2")
    await flow.send([run])
    await flow.read_until_all_reported([run])
    await flow.aclose()
    assert flow.replies[0].fault == "taken 2 times and never answered; a dead letter now"
    (letter,) = letters(client)
    assert (letter.run_id, letter.taken, letter.queue) == ("poison.0", 2, QUEUE)
    assert decode(letter.payload).run_id == "poison.0"
    assert not client.exists(taken_key(run.run_id))


async def test_what_is_reported_is_counted_from_the_beginning(
    harness: LegHarness, client: redis.Redis
) -> None:
    harness.executor.observation = {"outcome": "sandbox_error", "detail": "no room"}
    harness.start_worker(CRUCIBLE_CELERY_MAX_ATTEMPTS="1")
    flow = Flow(harness)
    for _ in range(3):
        flow.replies.clear()
        await flow.send([dispatch("faulty.0")])
        await flow.read_until_all_reported([dispatch("faulty.0")])
        assert "dead letter" not in str(flow.replies[0].fault)
        await eventually(lambda: not client.exists(taken_key("faulty.0")))
    await flow.aclose()
    assert letters(client) == []


async def test_a_letter_goes_back_once_and_is_found_where_withdrawals_look(
    valkey: Valkey, client: redis.Redis
) -> None:
    message = await sent(valkey, client, "back.0")
    client.hset("c:unacked", "tag", json.dumps([json.loads(message), "", "evaluations"]))
    undeliverable = Undeliverable(client, client, CelerySettings(), 60)
    assert undeliverable.count("back.0") == 1
    undeliverable.bury("back.0", "tag", 1)
    client.hdel("c:unacked", "tag")
    box, (letter,) = DeadLetters(client, "celery"), letters(client)
    assert undeliverable.count("back.0") == 1, "counted from the beginning"
    assert box.put_back(letter, letter.queue)
    assert not box.put_back(letter, letter.queue)
    assert (letters(client), client.llen(QUEUE)) == ([], 1)
    leg = CeleryClient(valkey.url, CelerySettings())
    assert await leg.withdraw(["back.0"]) == 1
    await leg.aclose()


def test_ids_are_stable_and_the_oldest_letters_go(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.celery_leg.worker.LETTERS_KEPT", 120)
    undeliverable = Undeliverable(client, client, CelerySettings(), 60)
    payloads = [b"garbage \x00\xff %d" % number for number in range(130)]
    for payload in payloads:
        assert not undeliverable.accept("evaluations", payload)
    found = letters(client)
    assert [letter.payload for letter in found] == payloads[10:]
    box = DeadLetters(client, "celery")
    assert found[0].id == "dl-celery-11"
    assert leg_and_number("dl-celery-11") == ("celery", 11)
    assert box.find(11) == found[0]
    box.remove(found[-1])
    assert box.find(130) is None
    undeliverable.accept("evaluations", b"one more")
    assert letters(client)[-1].id == "dl-celery-131", "a number is never given twice"
    assert [leg_and_number(each) for each in ("dl-legacy-x", "dl-x-1", "11", "dl-celery-1\n")] == [None] * 4
