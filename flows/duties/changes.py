"""Sends the events of what nobody else sends: that the rollout changed, and breakers."""

import asyncio
from dataclasses import asdict

from crucible.models.frozen import Frozen
from crucible.settings import BreakerSettings, load
from crucible.store.rollout import RolloutStore
from flows.duties.leases import Checkpoint
from tasks.events import EventKind, EventLog
from tasks.resilience.breakers import SHARED
from tasks.resilience.shared import breakers, connect_briefly


class Seen(Frozen):
    """The checkpoint: the version of the rollout and the state of each breaker that were seen last."""

    version: int
    breakers: dict[str, str]


class Changes:
    """Compares what there is with the checkpoint."""

    def __init__(
        self, rollout: RolloutStore, redis_url: str, events: EventLog, checkpoint: Checkpoint
    ) -> None:
        self._rollout, self._events, self._checkpoint = rollout, events, checkpoint
        self._redis = connect_briefly(redis_url)
        self._window_s = load(BreakerSettings).window_s

    async def round(self) -> None:
        """Send an event for each change since the checkpoint; at first, when there is none, none is sent.

        Raises ``PlatformError``.
        """
        rollout = await self._rollout.state()
        states = await asyncio.to_thread(breakers, self._redis, SHARED, self._window_s)
        seen = Seen(version=rollout.version, breakers={each.dependency: each.state for each in states})
        saved = await self._checkpoint.read()
        before = seen if saved is None else Seen.model_validate_json(saved)
        if saved is not None and before == seen:
            return
        if not await self._checkpoint.save(seen.model_dump_json()):
            return
        if before.version != seen.version:
            included = {"version", "stage", "share", "held", "epoch"}
            self._events.put(EventKind.ROLLOUT_CHANGED, rollout.model_dump(mode="json", include=included))
        for each in states:
            if before.breakers.get(each.dependency, each.state) != each.state:
                until = each.open_until and each.open_until.isoformat()
                self._events.put(EventKind.BREAKER_CHANGED, {**asdict(each), "open_until": until})

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
