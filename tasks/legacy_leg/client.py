"""The sending end of the legacy leg."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from crucible.models import Leg
from crucible.settings import LegacySettings
from executors.gates import Gate, OpenGate
from tasks.connections import connect_async
from tasks.dispatch import Dispatch
from tasks.legacy_leg.queue import encode, id_pattern, queue_keys
from tasks.resilience.sending import Sending
from tasks.scripts import signatures

# A ring wakes one waiting thread. More rings than this are never kept: a worker that
# hears none still looks at the queue every second.
_RINGS_KEPT = 64


class LegacyClient:
    """Pushes payloads onto the lists of their priorities and rings for idle workers."""

    leg: Leg = "legacy"

    def __init__(self, redis_url: str, settings: LegacySettings, gate: Gate | None = None) -> None:
        self._settings = settings
        self._sending = Sending(gate or OpenGate("redis"))
        self._queues = queue_keys(settings)
        self._redis = connect_async(redis_url)
        self._withdraw = signatures.withdraw_payloads.on_loop(self._redis)

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        """See ``LegClient.send``."""
        if dispatches:
            await self._sending.awaiting(lambda: self._push(dispatches))

    async def withdraw(self, run_ids: Collection[str]) -> int:
        """See ``LegClient.withdraw``."""
        return await self._withdraw(
            attempts=self._settings.attempts_key,
            queues=tuple(self._queues.values()),
            id_pattern=id_pattern(self._settings),
            run_ids=tuple(run_ids),
        )

    async def aclose(self) -> None:
        """See ``LegClient.aclose``."""
        await self._redis.aclose()

    async def _push(self, dispatches: Sequence[Dispatch]) -> None:
        payloads = defaultdict(list)
        for dispatch in dispatches:
            payloads[dispatch.evaluation.priority].append(encode(dispatch, self._settings))
        pipeline = self._redis.pipeline(transaction=False)
        for priority, values in payloads.items():
            pipeline.rpush(self._queues[priority], *values)
        pipeline.lpush(self._settings.doorbell_key, *("1" * min(len(dispatches), _RINGS_KEPT)))
        pipeline.ltrim(self._settings.doorbell_key, 0, _RINGS_KEPT - 1)
        await pipeline.execute()
