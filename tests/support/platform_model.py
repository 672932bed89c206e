"""Both legs on one server, whose workers, queues and leases a test moves one step at a time.

Whatever decides anything is the real thing: claims, the legacy queue, dead letters, the scripts. Played
is what surrounds them: Celery's delivery, workers' deaths, and the time that would have to pass.
"""

import json
from base64 import b64encode
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import redis

from crucible.models import LEGS, Evaluation, Leg
from crucible.settings import CelerySettings, LegacySettings
from tasks.celery_leg.app import broker_keys, broker_priority, queue_keys
from tasks.celery_leg.message import ID_PATTERN, arguments
from tasks.celery_leg.message import decode as decode_message
from tasks.celery_leg.worker import Undeliverable
from tasks.claims import Claim, Claims, ClaimState, Terms, claim_key, done_key, mark_key
from tasks.dead_letters import DeadLetters
from tasks.dispatch import Dispatch, Run
from tasks.legacy_leg.queue import LegacyQueue, decode, encode, id_pattern
from tasks.legacy_leg.queue import queue_keys as legacy_queues
from tasks.scripts import signatures

LEGACY, CELERY = LegacySettings(max_attempts=2), CelerySettings(max_attempts=2)
TERMS = Terms(lease_ms=600_000, result_ttl_ms=600_000)
"""So long that nothing ends by itself."""

CANCELLED = b'{"outcome":"cancelled"}'
_UNACKED, _INDEX, *_LISTS = broker_keys(CELERY)
_QUEUE = queue_keys(CELERY)[broker_priority(5)]

Key = tuple[str, Leg]
"""A run on a leg."""


class Violation(AssertionError):
    """An invariant does not hold. Nothing else counts as having found one."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A run in a worker's hands; ``tag`` is Celery's name for the message."""

    run: Run
    tag: str = ""


@dataclass(slots=True)
class Worker:
    """One worker process: what it has taken and not claimed yet, and what it runs."""

    leg: Leg
    name: str
    claims: Claims
    taken: list[Delivery] = field(default_factory=list)
    running: list[tuple[Claim, Delivery]] = field(default_factory=list)


class Platform:
    """The server with both legs, and beside it what must be true of them.

    ``recorded`` has the first answer of each run on each leg; ``holders`` whose claim lives.
    """

    def __init__(self, client: redis.Redis) -> None:
        client.flushdb()
        self.client = client
        self.queue = LegacyQueue(client, LEGACY, TERMS.lease_ms)
        self.undeliverable = Undeliverable(client, client, CELERY, 60)
        self.workers = [self._worker(leg, f"{leg}-{number}") for leg in LEGS for number in range(2)]
        self.recorded: dict[Key, bytes] = {}
        self.holders: dict[Key, str] = {}
        self.marked: set[str] = set()
        self._numbers = count()
        self._withdraw_payloads = signatures.withdraw_payloads.on(client)
        self._withdraw_messages = signatures.withdraw_messages.on(client)

    def send(self, run_id: str, leg: Leg, reply_to: str) -> None:
        """As the sending ends do."""
        dispatch = Dispatch(run_id, Evaluation(id=run_id, language="python", code=""), reply_to)
        if leg == "legacy":
            self.client.rpush(legacy_queues(LEGACY)[5], encode(dispatch, LEGACY))
        else:
            self.client.lpush(_QUEUE, _message(dispatch, f"tag-{next(self._numbers)}"))

    def take(self, worker: Worker) -> bool:
        """The next of its leg's queue; False when there is none."""
        if worker.leg == "legacy":
            payload = self.queue.take()
            if payload is not None:
                worker.taken.append(Delivery(decode(payload, LEGACY)))
            return payload is not None
        message = cast("bytes | None", self.client.rpop(_QUEUE))
        if message is not None:
            run, tag = decode_message(message), json.loads(message)["properties"]["delivery_tag"]
            self.client.hset(_UNACKED, tag, json.dumps([json.loads(message), "", "evaluations"]))
            worker.taken.append(Delivery(run, tag))
        return message is not None

    def claim(self, worker: Worker, *, dies: bool = False) -> None:
        """What a worker does with the oldest it has taken; ``dies``: before it reports a cancelled one."""
        delivery = worker.taken.pop(0)
        key = (delivery.run.run_id, worker.leg)
        marked = bool(self.marked & {key[0], key[0].rpartition(".")[0]})
        claim = worker.claims.claim(delivery.run)
        if claim.state is ClaimState.CLAIMED:
            _require(key not in self.recorded, f"{key} is run although it was answered")
            _require(not marked, f"{key} is run although it was cancelled before")
            _require(key not in self.holders, f"{key} is run by two")
            self.holders[key] = claim.token
            self._begin(worker, claim, delivery)
            return
        if claim.state is ClaimState.CANCELLED:
            if dies:
                self.die(worker)
                return
            self._answered(worker, claim, CANCELLED)
        self._acknowledge(delivery)

    def complete(self, worker: Worker, place: int) -> None:
        """The worker answers with bytes that no other execution gives."""
        claim, delivery = worker.running.pop(place)
        self._answered(worker, claim, f"{worker.leg} {claim.run.run_id} {next(self._numbers)}".encode())
        self._reported(worker, claim, delivery)

    def fault(self, worker: Worker, place: int) -> None:
        """The worker reports that it could not."""
        claim, delivery = worker.running.pop(place)
        worker.claims.fault(claim, "no executor")
        self._reported(worker, claim, delivery)

    def die(self, worker: Worker) -> None:
        """Another process takes its place, which knows of nothing."""
        worker.claims = self._claims(worker.leg, worker.name)
        worker.taken.clear()
        worker.running.clear()

    def release(self, worker: Worker) -> None:
        """The worker is stopped: it gives back what it runs, and takes with it what it had not claimed."""
        for claim, _ in worker.running:
            self._dropped(claim, worker.leg)
        worker.claims.release()
        self.die(worker)

    def renew(self, worker: Worker) -> None:
        """The worker renews its claims."""
        worker.claims.renew()

    def lease_ends(self, key: Key) -> None:
        """The claim of a run has not been renewed in time. Its worker may still be at it."""
        self.client.delete(claim_key(*key))
        self.holders.pop(key, None)

    def queue_lease_ends(self, place: int) -> None:
        """One of the legacy queue's leases is over."""
        leased = cast("list[bytes]", self.client.zrange(LEGACY.leases_key, 0, -1))
        if leased:
            self.client.zadd(LEGACY.leases_key, {leased[place % len(leased)]: 0})

    def reap(self, worker: Worker, *, dies: bool = False) -> None:
        """A legacy worker looks for leases that are over; ``dies``: before it reports dead letters."""
        self.client.delete(f"{LEGACY.leases_key}:reaper")
        for payload in self.queue.reap(worker.name):
            nobody = Claim(decode(payload, LEGACY), ClaimState.HELD, token="", taken_at=0)
            key = (nobody.run.run_id, worker.leg)
            _require(key not in self.recorded, f"{key} is a dead letter although it was answered")
            if not dies:
                worker.claims.fault(nobody, "a dead letter now")

    def deliver_again(self, place: int) -> None:
        """Celery hands out what was not acknowledged, whether its worker is dead or slow."""
        held = cast("dict[bytes, bytes]", self.client.hgetall(_UNACKED))
        if held:
            tag, kept = sorted(held.items())[place % len(held)]
            self.client.hdel(_UNACKED, tag.decode())
            self.client.rpush(_QUEUE, json.dumps(json.loads(kept)[0]))

    def lose_message(self) -> None:
        """A Celery worker ends between taking a message and noting that it has it."""
        self.client.rpop(_QUEUE)

    def mark(self, cancelled_id: str) -> None:
        """A run, or an evaluation with all its runs, is cancelled."""
        self.client.set(mark_key(cancelled_id), 1)
        self.marked.add(cancelled_id)

    def withdraw(self, run_id: str) -> None:
        """What waits of a cancelled run is taken out of both queues."""
        self._withdraw_payloads(
            attempts=LEGACY.attempts_key,
            queues=tuple(legacy_queues(LEGACY).values()),
            id_pattern=id_pattern(LEGACY),
            run_ids=(run_id,),
        )
        self._withdraw_messages(
            unacked=_UNACKED, unacked_index=_INDEX, queues=_LISTS, id_pattern=ID_PATTERN, run_ids=(run_id,)
        )

    def forget(self, run_id: str) -> None:
        """The answers of a run are in the ledger; as ``ReplyReader.forget`` does."""
        for leg in LEGS:
            self.client.set(done_key(run_id, leg), "", xx=True, keepttl=True)

    def replies(self, stream: str) -> list[dict[bytes, bytes]]:
        """Everything that was ever told on a stream."""
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", self.client.xrange(stream))
        return [fields for _, fields in entries]

    def letters(self) -> int:
        """How many dead letters there are."""
        return sum(1 for leg in LEGS for _ in DeadLetters(self.client, leg).all())

    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is held, by whomever."""
        lists = (*legacy_queues(LEGACY).values(), *_LISTS, _UNACKED)
        return not self.client.exists(*lists, *self.queue.books)

    def check_books(self) -> None:
        """To be called when everybody has reported all that waited."""
        held = {name: size for name, size in self._books().items() if size}
        _require(not held, f"nobody has anything in hand, and the books still hold {held}")

    def _books(self) -> dict[str, int]:
        processing, leases, attempts = self.queue.books
        client = self.client
        sizes = (client.llen(processing), client.zcard(leases), client.hlen(attempts))
        return dict(zip(self.queue.books, cast("tuple[int, ...]", sizes), strict=True))

    def end_all_leases(self) -> None:
        """Everybody is dead, and so long that everything has been noticed."""
        for worker in self.workers:
            self.die(worker)
        for key in cast("list[bytes]", self.client.keys("crucible:claim:*")):
            self.client.delete(key)
        self.holders.clear()
        for payload in cast("list[bytes]", self.client.zrange(LEGACY.leases_key, 0, -1)):
            self.client.zadd(LEGACY.leases_key, {payload: 0})
        while self.client.hlen(_UNACKED):
            self.deliver_again(0)

    def _begin(self, worker: Worker, claim: Claim, delivery: Delivery) -> None:
        worker.running.append((claim, delivery))
        if worker.leg == "celery" and (taken := self.undeliverable.count(claim.run.run_id) - 1) >= 2:
            worker.claims.fault(claim, self.undeliverable.bury(claim.run.run_id, delivery.tag, taken))
            worker.running.pop()
            self._reported(worker, claim, delivery)

    def _answered(self, worker: Worker, claim: Claim, body: bytes) -> None:
        key = (claim.run.run_id, worker.leg)
        won = worker.claims.answer(claim, body)
        _require(won == (key not in self.recorded), f"{key} has two first answers")
        if won:
            self.recorded[key] = body

    def _reported(self, worker: Worker, claim: Claim, delivery: Delivery) -> None:
        self._dropped(claim, worker.leg)
        self._acknowledge(delivery)
        if worker.leg == "celery":
            self.undeliverable.forget(claim.run.run_id)

    def _dropped(self, claim: Claim, leg: Leg) -> None:
        if self.holders.get((claim.run.run_id, leg)) == claim.token:
            del self.holders[claim.run.run_id, leg]

    def _acknowledge(self, delivery: Delivery) -> None:
        if delivery.tag:
            self.client.hdel(_UNACKED, delivery.tag)

    def _worker(self, leg: Leg, name: str) -> Worker:
        return Worker(leg, name, self._claims(leg, name))

    def _claims(self, leg: Leg, name: str) -> Claims:
        return Claims(self.client, leg, name, TERMS, self.queue.books if leg == "legacy" else None)


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        raise Violation(otherwise)


def _message(dispatch: Dispatch, tag: str) -> str:
    """As kombu writes it."""
    body = json.dumps([arguments(dispatch), {}, {}])
    return json.dumps(
        {
            "body": b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": "crucible.run", "id": dispatch.run_id},
            "properties": {
                "correlation_id": dispatch.run_id,
                "delivery_tag": tag,
                "delivery_info": {"exchange": "", "routing_key": "evaluations"},
                "body_encoding": "base64",
                "priority": broker_priority(dispatch.evaluation.priority),
            },
        }
    )
