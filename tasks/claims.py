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
from tasks.dispatch import Run
from tasks.scripts import signatures
from tasks.scripts.signatures import QueueBooks

DUPLICATES_KEY = "crucible:duplicates"
QUEUE_LEASE_EXTRA_MS = 1_000
"""A queue lease outlives the claim by this much, so that what a reaper queues again can be claimed."""


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
        self._books = books
        self._claim, self._complete = signatures.claim.on(client), signatures.complete.on(client)
        self._renew, self._release = signatures.renew.on(client), signatures.release.on(client)
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
        run_mark, evaluation_mark = mark_keys(run.run_id)
        answer = self._claim(
            claim=claim_key(run.run_id, self.leg),
            done=done_key(run.run_id, self.leg),
            run_mark=run_mark,
            evaluation_mark=evaluation_mark,
            replies=run.reply_to,
            books=self._books,
            token=token,
            lease_ms=self._terms.lease_ms,
            run_id=run.run_id,
            leg=self.leg,
            payload=run.payload,
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
            self._renew(
                claims=[claim_key(each.run.run_id, self.leg) for each in live],
                leases=self._books and self._books.leases,
                lease_ms=self._terms.lease_ms,
                queue_lease_ms=self._terms.lease_ms + QUEUE_LEASE_EXTRA_MS,
                tokens=[each.token for each in live],
                payloads=[each.run.payload or b"" for each in live],
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
            self._release(
                claim=claim_key(claim.run.run_id, self.leg),
                books=self._books,
                token=claim.token,
                payload=claim.run.payload,
            )
            self.abandon(claim)
        return len(live)

    def _end(self, claim: Claim, kind: Literal["answer", "fault"], body: bytes) -> bool:
        run = claim.run
        try:
            reported = self._complete(
                done=done_key(run.run_id, self.leg),
                claim=claim_key(run.run_id, self.leg),
                duplicates=DUPLICATES_KEY,
                replies=run.reply_to,
                books=self._books,
                token=claim.token,
                result_ttl_ms=self._terms.result_ttl_ms,
                run_id=run.run_id,
                leg=self.leg,
                kind=kind,
                body=body,
                worker=self._worker,
                taken_at=claim.taken_at,
                finished_at=_now_ms(),
                payload=run.payload,
            )
        finally:
            self.abandon(claim)
        return bool(reported)

    def _snapshot(self) -> Sequence[Claim]:
        with self._lock:
            return list(self._live.values())


def _now_ms() -> int:
    return int(time.time() * 1000)
