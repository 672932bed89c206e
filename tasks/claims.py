"""Who runs what: one worker at a time claims a run, and the first answer is the only one.

Keys, all in the Redis of the replies: ``crucible:claim:{run_id}:{leg}`` lives while a worker has the
run, ``crucible:done:{run_id}:{leg}`` says that it was answered, and has the answer until that is in the
ledger, ``crucible:duplicates`` counts, by leg, the answers that came second and were dropped,
``crucible:claimed:{run_id}:{leg}`` names, for traces, the span of the last claim of a traced run.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Literal, cast
from uuid import uuid4

import redis

from crucible.models import Leg
from tasks import scripts
from tasks.dispatch import Run

DUPLICATES_KEY = "crucible:duplicates"
REPLY_STREAM_LENGTH = 100_000
REPLY_STREAM_TTL_S = 86_400
QUEUE_LEASE_EXTRA_MS = 1_000
"""A queue lease outlives the claim by this much, so that what a reaper queues again can be claimed."""

_SCRIPTS = ("claim", "complete", "renew", "release")


def claim_key(run_id: str, leg: Leg) -> str:
    """Key that lives as long as a worker has the run."""
    return f"crucible:claim:{run_id}:{leg}"


def done_key(run_id: str, leg: Leg) -> str:
    """Key that says that the run was answered: the answer, or nothing once nobody needs it any more."""
    return f"crucible:done:{run_id}:{leg}"


def mark_key(cancelled_id: str) -> str:
    """Key that says that a run, an evaluation with all its runs, or a sweep was cancelled."""
    return f"crucible:cancel:{cancelled_id}"


def mark_keys(run_id: str) -> tuple[str, str]:
    """The marks that a run is to obey: its own, and its evaluation's."""
    return mark_key(run_id), mark_key(run_id.rpartition(".")[0])


class ClaimState(StrEnum):
    """What came of asking for a run."""

    CLAIMED = "claimed"
    HELD = "held"
    """Another worker has it."""
    ANSWERED = "answered"
    """It was answered before; a new asker has been told."""
    CANCELLED = "cancelled"
    """Nobody wants it any more; whoever asked reports that."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run with its state. ``token`` is unique to this claim; ``taken_at`` is in ms since 1970."""

    run: Run
    state: ClaimState
    token: str
    taken_at: int


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things last: a claim unless it is renewed, and the memory that a run was answered."""

    lease_ms: int
    result_ttl_ms: int


@dataclass(frozen=True, slots=True)
class QueueBooks:
    """Keys under which the legacy queue keeps what was taken, kept in step by the same scripts."""

    processing: str
    leases: str
    attempts: str

    @property
    def keys(self) -> tuple[str, str, str]:
        """The keys in the order the scripts expect."""
        return self.processing, self.leases, self.attempts


class Claims:
    """The claims of one worker process on one leg. Safe to use from several threads.

    Every method raises ``ServiceUnavailable`` when Redis cannot be used; the run is then neither
    answered nor lost, because its claim expires and its sender sends it again.
    """

    def __init__(
        self, client: redis.Redis, leg: Leg, worker: str, terms: Terms, books: QueueBooks | None = None
    ) -> None:
        self.leg: Leg = leg
        self._worker, self._terms = worker, terms
        self._book_keys = books.keys if books else ()
        self._claim, self._complete, self._renew, self._release = (
            client.register_script(scripts.source(name)) for name in _SCRIPTS
        )
        self._nonce = f"{worker}:{uuid4().hex}"
        self._numbers = count()
        self._client = client
        self._live: dict[str, Claim] = {}
        self._lock = threading.Lock()

    def claim(self, run: Run) -> Claim:
        """Asks for ``run``. Unless it is CLAIMED it must not be run.

        One that is CANCELLED is to be answered; otherwise a legacy payload is dropped.
        """
        token = f"{self._nonce}:{next(self._numbers)}"
        run_id, leg = run.run_id, self.leg
        keys = (claim_key(run_id, leg), done_key(run_id, leg), *mark_keys(run_id), run.reply_to)
        told = (REPLY_STREAM_TTL_S, REPLY_STREAM_LENGTH, run_id, leg)
        answer = self._claim(
            (*keys, *self._book_keys), (token, self._terms.lease_ms, *told, *self._payload(run))
        )
        claim = Claim(run, ClaimState(answer.decode()), token, _now_ms())
        if claim.state is ClaimState.CLAIMED:
            with self._lock:
                self._live[token] = claim
        return claim

    def repeated(self, run: Run, traceparent: str) -> str | None:
        """The traceparent under which a worker last claimed ``run``, if one did; this one's from now on."""
        key = f"crucible:claimed:{run.run_id}:{self.leg}"
        before = self._client.set(key, traceparent, px=self._terms.result_ttl_ms, get=True)
        return cast("bytes", before).decode() if before else None

    def answer(self, claim: Claim, observation: bytes) -> bool:
        """Reports ``observation``, the JSON of one, untouched. False when the run was answered before."""
        return self._end(claim, "answer", observation)

    def fault(self, claim: Claim, reason: str) -> bool:
        """Reports in one line why there is no observation, and frees the run.

        False when that is of no interest, because the run was answered or another worker has it.
        """
        return self._end(claim, "fault", reason.encode())

    def abandon(self, claim: Claim) -> None:
        """Stops renewing ``claim``; does nothing else, and nothing after ``answer`` or ``fault``."""
        with self._lock:
            self._live.pop(claim.token, None)

    def renew(self) -> None:
        """Prolongs all live claims, and the queue leases that go with them, in one round trip."""
        live = self._snapshot()
        if live:
            keys = [claim_key(claim.run.run_id, self.leg) for claim in live]
            payloads = [part for claim in live for part in self._payload(claim.run)]
            lease_ms = self._terms.lease_ms
            self._renew(
                [*keys, *self._book_keys[1:2]],
                [lease_ms, lease_ms + QUEUE_LEASE_EXTRA_MS, len(live), *(c.token for c in live), *payloads],
            )

    def cancelled(self) -> list[str]:
        """The run ids of live claims that somebody has cancelled meanwhile."""
        run_ids = [claim.run.run_id for claim in self._snapshot()]
        if not run_ids:
            return []
        marks = cast(
            "list[bytes | None]",
            self._client.mget([key for run_id in run_ids for key in mark_keys(run_id)]),
        )
        pairs = zip(run_ids, marks[::2], marks[1::2], strict=True)
        return [run_id for run_id, *found in pairs if any(mark is not None for mark in found)]

    def release(self) -> int:
        """Gives all live runs back unanswered, for a worker that must stop; returns how many."""
        live = self._snapshot()
        for claim in live:
            keys = (claim_key(claim.run.run_id, self.leg), *self._book_keys)
            self._release(keys, (claim.token, *self._payload(claim.run)))
            self.abandon(claim)
        return len(live)

    def _end(self, claim: Claim, kind: Literal["answer", "fault"], body: bytes) -> bool:
        run_id, leg, terms = claim.run.run_id, self.leg, self._terms
        keys = (
            done_key(run_id, leg),
            claim_key(run_id, leg),
            DUPLICATES_KEY,
            claim.run.reply_to,
            *self._book_keys,
        )
        limits = (terms.result_ttl_ms, REPLY_STREAM_TTL_S, REPLY_STREAM_LENGTH)
        entry = (run_id, leg, kind, body, self._worker, claim.taken_at, _now_ms())
        try:
            return bool(self._complete(keys, (claim.token, *limits, *entry, *self._payload(claim.run))))
        finally:
            self.abandon(claim)

    def _payload(self, run: Run) -> tuple[bytes, ...]:
        return (run.payload,) if self._book_keys and run.payload is not None else ()

    def _snapshot(self) -> Sequence[Claim]:
        with self._lock:
            return list(self._live.values())


def _now_ms() -> int:
    return int(time.time() * 1000)
