"""Keeps an eye on Celery once legacy is off: recorded evaluations go to it, whose right answers are known."""

from datetime import UTC, datetime

import structlog

from crucible.ids import new_evaluation_id
from crucible.rollout.stage import Stage
from crucible.store import Store, Submission, Ticket
from flows.duties.janitor import Queue
from flows.duties.leases import Checkpoint


class Sentinels:
    """At stage ``celery`` sends one sentinel every ``sentinel_every_s`` seconds.

    The checkpoint is the time of the last one. Intervals are off by what clocks of controllers differ.
    """

    def __init__(self, store: Store, queue: Queue, checkpoint: Checkpoint) -> None:
        self._store, self._queue, self._checkpoint = store, queue, checkpoint

    async def round(self) -> None:
        """Send a sentinel if one is due and there is room for it. Raises as ``Store`` does."""
        if (await self._store.rollout.state()).stage is not Stage.CELERY:
            return
        now, last = datetime.now(UTC), await self._checkpoint.read()
        every_s = (await self._store.rollout.epoch()).key.policy.sentinel_every_s
        if last is not None and abs((now - datetime.fromisoformat(last)).total_seconds()) < every_s:
            return
        # Noted first: a controller that ends in between leaves one out, and none is sent twice.
        if await self._checkpoint.save(now.isoformat()):
            await self._send()

    async def _send(self) -> None:
        reference = await self._store.rollout.random_reference()
        if reference is None:
            structlog.get_logger().warning(
                "no sentinel sent", reason="no evaluation is recorded that matched"
            )
            return
        ((_, evaluation),) = await self._store.load([reference])
        new_id = new_evaluation_id()
        await self._store.submit([Submission(new_id, evaluation, is_traffic=True, reference=reference)])
        if self._queue.reserve(1):
            self._queue.put([Ticket(new_id, evaluation.id)])
