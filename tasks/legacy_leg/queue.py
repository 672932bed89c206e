"""The legacy queue: its keys and payloads, and its receiving end: take, wait, reap, bury."""

import re

import orjson
import redis

from crucible.errors import InputError
from crucible.settings import LegacySettings
from tasks.claims import QUEUE_LEASE_EXTRA_MS, done_key
from tasks.dead_letters import LETTERS_KEPT, letter_keys
from tasks.dispatch import Dispatch, Run, trace_fields, traced
from tasks.scripts import signatures
from tasks.scripts.signatures import QueueBooks

PRIORITIES = range(9, -1, -1)
"""Most urgent first."""


def encode(dispatch: Dispatch, settings: LegacySettings) -> bytes:
    """The payload of ``dispatch``; the same one each time it is sent."""
    evaluation = dispatch.evaluation
    about = trace_fields(dispatch)
    return orjson.dumps(
        {
            settings.id_field: dispatch.run_id,
            **({settings.trace_field: about} if about else {}),
            settings.language_field: evaluation.language,
            settings.code_field: evaluation.code,
            settings.stdin_field: evaluation.stdin,
            settings.limits_field: evaluation.limits.model_dump(),
            settings.reply_field: dispatch.reply_to,
        }
    )


def id_pattern(settings: LegacySettings) -> str:
    """Lua's pattern of payloads made by ``encode``, for the queue's scripts; it captures the run id."""
    name = re.sub(r"(\W)", r"%\1", settings.id_field)
    return f'^{{"{name}":"([^"]+)"'


def decode(payload: bytes, settings: LegacySettings) -> Run:
    """The run that ``payload`` describes. Raises ``InputError`` when it is none; the sender's fault."""
    try:
        fields = orjson.loads(payload)
        run = Run(
            run_id=fields[settings.id_field],
            language=fields[settings.language_field],
            code=fields[settings.code_field],
            stdin=fields.get(settings.stdin_field) or "",
            limits=fields.get(settings.limits_field) or {},
            reply_to=fields[settings.reply_field],
            payload=payload,
        )
        about = fields.get(settings.trace_field)
        return traced(run, about) if isinstance(about, dict) else run
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"payload {payload[:80]!r} cannot be read: {error!r}") from error


def queue_keys(settings: LegacySettings) -> dict[int, str]:
    """The list of each priority, most urgent first."""
    return {priority: settings.queue_key.format(priority=priority) for priority in PRIORITIES}


_LISTEN_S = 1.0


class LegacyQueue:
    """The lists of the legacy queue, as its workers use them. Safe to use from several threads.

    Every method raises ``ServiceUnavailable`` when Redis cannot be used.
    """

    def __init__(self, client: redis.Redis, settings: LegacySettings, lease_ms: int) -> None:
        self._redis, self._settings, self._lease_ms = client, settings, lease_ms
        self._queues = tuple(queue_keys(settings).values())
        self.books = QueueBooks(settings.processing_key, settings.leases_key, settings.attempts_key)
        self._take = signatures.take.on(client)
        self._reap, self._bury = signatures.reap.on(client), signatures.bury.on(client)

    def take(self) -> bytes | None:
        """The most urgent payload, leased; None when all queues are empty."""
        lease_ms = self._lease_ms + QUEUE_LEASE_EXTRA_MS
        return self._take(books=self.books, queues=self._queues, lease_ms=lease_ms)

    def listen(self) -> None:
        """Waits for the doorbell, for a second at most."""
        self._redis.blpop([self._settings.doorbell_key], timeout=_LISTEN_S)

    def reap(self, worker: str) -> list[bytes]:
        """Queues payloads whose lease is over again; returns those that are dead letters now.

        Does nothing when another worker did it within ``reap_every_s``.
        """
        settings = self._settings
        _, *dead = self._reap(
            lock=f"{settings.leases_key}:reaper",
            books=self.books,
            letters=letter_keys("legacy"),
            worker=worker,
            lock_ms=int(settings.reap_every_s * 900),
            max_attempts=settings.max_attempts,
            letters_kept=LETTERS_KEPT,
            id_pattern=id_pattern(settings),
            done_format=done_key("%s", "legacy"),
        )
        return dead

    def bury(self, payload: bytes, reason: str) -> None:
        """Makes a dead letter of a taken payload that nobody can read, for that ``reason``."""
        letters = letter_keys("legacy")
        self._bury(
            books=self.books, letters=letters, payload=payload, reason=reason, letters_kept=LETTERS_KEPT
        )
