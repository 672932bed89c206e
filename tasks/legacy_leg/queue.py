"""The receiving end of the legacy queue: take, wait, reap, bury."""

import redis

from crucible.settings import LegacySettings
from tasks import scripts
from tasks.claims import QUEUE_LEASE_EXTRA_MS, QueueBooks
from tasks.legacy_leg.payload import queue_keys

_DEAD_LETTERS_KEPT = 10_000
_LISTEN_S = 1.0


class LegacyQueue:
    """The lists of the legacy queue, as its workers use them. Safe to use from several threads.

    Every method raises redis-py's errors when Redis cannot be reached.
    """

    def __init__(self, client: redis.Redis, settings: LegacySettings, lease_ms: int) -> None:
        self._redis, self._settings, self._lease_ms = client, settings, lease_ms
        self._queues = tuple(queue_keys(settings).values())
        self.books = QueueBooks(settings.processing_key, settings.leases_key, settings.attempts_key)
        self._take, self._reap, self._bury = (
            client.register_script(scripts.source(name)) for name in ("take", "reap", "bury")
        )

    def take(self) -> bytes | None:
        """The most urgent payload, leased; None when all queues are empty."""
        lease_ms = self._lease_ms + QUEUE_LEASE_EXTRA_MS
        payload: bytes | None = self._take((*self.books.keys, *self._queues), (lease_ms,))
        return payload

    def listen(self) -> None:
        """Waits for the doorbell, for a second at most."""
        self._redis.blpop([self._settings.doorbell_key], timeout=_LISTEN_S)

    def reap(self, worker: str) -> list[bytes]:
        """Queues payloads whose lease is over again; returns those that are dead letters now.

        Does nothing when another worker did it within ``reap_every_s``.
        """
        settings = self._settings
        keys = (f"{settings.leases_key}:reaper", *self.books.keys, settings.dead_key)
        lock_ms = int(settings.reap_every_s * 900)
        dead: list[bytes] = self._reap(keys, (worker, lock_ms, settings.max_attempts, _DEAD_LETTERS_KEPT))[1:]
        return dead

    def bury(self, payload: bytes) -> None:
        """Moves a taken payload that nobody can read to the dead letters."""
        self._bury((*self.books.keys, self._settings.dead_key), (payload, _DEAD_LETTERS_KEPT))
