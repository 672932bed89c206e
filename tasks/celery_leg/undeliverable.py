"""What the Celery worker does not carry but keeps as dead letters: unreadable messages, poisonous runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import redis
import structlog
from kombu.transport.redis import Channel
from kombu.utils.json import dumps

from crucible.errors import InputError, PlatformError, ServiceUnavailable
from crucible.settings import CelerySettings
from tasks.celery_leg.app import queue_keys
from tasks.celery_leg.message import decode, priority_of
from tasks.dead_letters import LETTERS_KEPT, letter_keys
from tasks.runner import Executor
from tasks.scripts import signatures


def taken_key(run_id: str) -> str:
    """Key that counts how often a run was taken since it was last reported."""
    return f"crucible:taken:{run_id}:celery"


class Undeliverable:
    """Buries what cannot be delivered. Letters lie in ``broker``, Celery's Redis; counts with the claims.

    Safe to use from several threads.
    """

    def __init__(
        self, broker: redis.Redis, counts: redis.Redis, settings: CelerySettings, count_ttl_s: int
    ) -> None:
        self._broker, self._counts = broker, counts
        self._settings, self._ttl_s = settings, count_ttl_s
        self._bury = signatures.bury_message.on(broker)
        self._log = structlog.get_logger()

    def accept(self, queue: str, message: bytes) -> bool:
        """Whether ``message``, just taken from ``queue``, can be read; if not, it is a dead letter now."""
        try:
            decode(message)
        except InputError as error:
            self._log.warning("dead letter", reason=str(error))
            try:
                self._add("", str(error), 1, f"{self._settings.key_prefix}{queue}", message)
            except ServiceUnavailable as lost:
                self._log.warning("dead letter lost", reason=str(lost), payload=repr(message))
            return False
        return True

    def count(self, run_id: str) -> int:
        """Count that a worker begins with ``run_id``; returns how often one has by now."""
        pipeline = self._counts.pipeline(transaction=False)
        pipeline.incr(taken_key(run_id))
        pipeline.expire(taken_key(run_id), self._ttl_s)
        return int(pipeline.execute()[0])

    def forget(self, run_id: str) -> None:
        """Begin to count anew, for it was reported."""
        self._counts.delete(taken_key(run_id))

    def bury(self, run_id: str, tag: str, taken: int) -> str:
        """Make a dead letter of the message of ``tag``, still to be acknowledged; returns the reason."""
        reason = f"taken {taken} times and never answered"
        unacked = f"{self._settings.key_prefix}{Channel.unacked_key}"
        held = self._broker.hget(unacked, tag)
        if held is None:
            return reason  # the broker has handed it out once more: another delivery has it now
        # Written as kombu does: withdrawals look for ids in that very form.
        message = dumps(orjson.loads(held)[0]).encode()  # type: ignore[no-untyped-call]
        queue = queue_keys(self._settings)[priority_of(message)]
        self._add(run_id, reason, taken, queue, message)
        self.forget(run_id)
        return f"{reason}; a dead letter now"

    def _add(self, run_id: str, reason: str, taken: int, queue: str, message: bytes) -> None:
        self._bury(
            letters=letter_keys("celery"),
            letters_kept=LETTERS_KEPT,
            run_id=run_id,
            reason=reason,
            taken=taken,
            queue=queue,
            message=message,
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """An executor that refuses a run that was taken too often; to be asked once the run is claimed.

    ``tag`` is Celery's name for the message that is being delivered.
    """

    executor: Executor
    undeliverable: Undeliverable
    tag: str
    max_attempts: int

    def execute(
        self, run_id: str, language: str, code: str, stdin: str, limits: Mapping[str, object]
    ) -> bytes:
        """See ``ExecutorClient.execute``. Raises ``PlatformError`` when the run has become a dead letter."""
        taken = self.undeliverable.count(run_id) - 1
        if taken >= self.max_attempts:
            raise PlatformError(self.undeliverable.bury(run_id, self.tag, taken))
        return self.executor.execute(run_id, language, code, stdin, limits)
