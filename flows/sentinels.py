"""Keeps an eye on Celery once legacy is off: recorded evaluations go to it, whose right answers are known."""

import asyncio
from collections.abc import Callable

import structlog

from crucible.errors import PlatformError
from crucible.ids import new_evaluation_id
from crucible.models import Evaluation
from crucible.rollout.stage import Stage
from crucible.store import Store, Submission
from tasks.once import Once

Start = Callable[[str, Evaluation], None]
"""Starts a flow run for an evaluation that is in the ledger, by its id."""

_LOOK_EVERY_S = 1.0


class Sentinels:
    """At stage ``celery`` sends one sentinel every ``sentinel_every_s`` seconds; at others it waits.

    Of several processes one sends.
    """

    def __init__(self, store: Store, once: Once, start: Start) -> None:
        self._store = store
        self._once = once
        self._start = start

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            pause_s = _LOOK_EVERY_S
            try:
                if (await self._store.rollout.state()).stage is Stage.CELERY:
                    pause_s = (await self._store.rollout.epoch()).key.policy.sentinel_every_s
                    if await self._once.is_first("sentinel", pause_s):
                        await self._send()
            except PlatformError as error:
                structlog.get_logger().warning("no sentinel sent", reason=str(error))
            await asyncio.sleep(pause_s)

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
        self._start(new_id, evaluation)
