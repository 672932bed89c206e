"""Tells others what changed: the webhook, when the migration turned back by itself, and all followers."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import structlog

from crucible.models.frozen import Frozen
from crucible.rollout.epoch import ITSELF, AuditEntry
from crucible.settings import BreakerSettings, WebhookSettings, load
from crucible.store.rollout import RolloutStore
from flows.duties.leases import Checkpoint
from flows.notify import notify
from tasks.events import EventKind, EventLog
from tasks.resilience.breaker import SHARED, breakers, connect_briefly

_TRIED_FOR = timedelta(days=1)
_GRACE_S = 15.0
"""From the end of the tries of one delivery to the next delivery."""


class Progress(Frozen):
    """The checkpoint: the last entry of the log that was read, and the rollbacks whose delivery is open."""

    seq: int
    undelivered: tuple[int, ...] = ()


class Alarm:
    """Reads the log of changes and posts what nobody asked for to the webhook.

    What the webhook does not take is posted again for a day. A rollback is posted at least once: whoever ends
    between the delivery and the checkpoint leaves it to be posted again, under the same ``audit_seq``.
    """

    def __init__(self, rollout: RolloutStore, checkpoint: Checkpoint) -> None:
        self._rollout, self._checkpoint = rollout, checkpoint
        self._settings = load(WebhookSettings)
        self._attempt_s = self._settings.within_s + _GRACE_S
        self._not_before: dict[int, float] = {}

    async def round(self) -> None:
        """Post what was logged since the checkpoint; at first, when there is none, nothing is posted.

        Raises as ``Store`` does.
        """
        saved, newest = await self._checkpoint.read(), await self._newest_seq()
        if saved is None:
            await self._checkpoint.save(Progress(seq=newest).model_dump_json())
            return
        progress = Progress.model_validate_json(saved)
        if newest > progress.seq:
            found = [each for each in await self._after(progress.seq, newest) if _is_by_itself(each)]
            for each in found:
                structlog.get_logger().error("migration turned back", reason=each.reason)
            undelivered = (*progress.undelivered, *(each.seq for each in found))
            progress = Progress(seq=newest, undelivered=undelivered)
            if not await self._checkpoint.save(progress.model_dump_json()):
                return
        await self._deliver(progress)

    async def _deliver(self, progress: Progress) -> None:
        now = time.monotonic()
        due = {each for each in progress.undelivered if self._not_before.get(each, 0) <= now}
        for entry in await self._after(min(due) - 1, progress.seq) if due else ():
            if entry.seq in due and await self._is_done(entry):
                left = tuple(each for each in progress.undelivered if each != entry.seq)
                progress = progress.model_copy(update={"undelivered": left})
                await self._checkpoint.save(progress.model_dump_json())

    async def _is_done(self, entry: AuditEntry) -> bool:
        """Post a rollback; whether there is no need to post it again."""
        if (await notify(self._settings, _event(entry))).delivered:
            return True
        self._not_before[entry.seq] = time.monotonic() + self._attempt_s
        return self._settings.url is None or datetime.now(UTC) - entry.at > _TRIED_FOR

    async def _newest_seq(self) -> int:
        entries = await self._rollout.history(1)
        return entries[-1].seq if entries else 0

    async def _after(self, seq: int, newest: int) -> Sequence[AuditEntry]:
        # Entries are numbered without gaps; some may have come meanwhile.
        return [each for each in await self._rollout.history(newest - seq + 20) if each.seq > seq]


def _is_by_itself(entry: AuditEntry) -> bool:
    return (entry.actor, entry.action) == (ITSELF, "rollback")


def _event(entry: AuditEntry) -> dict[str, object]:
    """Where the migration was and is, and why: no word of any program."""
    return {
        "event": "rollback",
        "stage": entry.after.stage,
        "stage_before": entry.before.stage,
        "reason": entry.reason,
        "at": entry.at,
        "audit_seq": entry.seq,
    }


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
