"""Tells somebody when the migration has turned back by itself."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from crucible.errors import PlatformError
from crucible.rollout.audit import ITSELF, AuditEntry
from crucible.settings import WebhookSettings, load
from crucible.store import Store
from flows.notify import notify
from tasks.once import Once

_LOOK_EVERY_S = 1.0
_NEWEST = 20
_REMEMBERED_S = 24 * 3600.0
_GRACE_S = 15.0
"""How much longer than its tries one delivery may take."""


class Alarm:
    """Looks at the log of changes, and posts what nobody asked for to the webhook; ``run`` must go on.

    Of several processes that look, one posts. Where it ends meanwhile or the webhook does not take it,
    another try follows when the time of that one is over, for a day.
    """

    def __init__(self, store: Store, once: Once) -> None:
        self._store = store
        self._once = once
        self._settings = load(WebhookSettings)
        self._attempt_s = self._settings.within_s + _GRACE_S
        self._told: int | None = None
        self._looked_after: list[_Rollback] = []

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except PlatformError as error:
                structlog.get_logger().warning("log of changes not read", reason=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Tell what was logged since the look before; the first one tells nothing."""
        entries = await self._store.rollout.history(_NEWEST)
        newest = entries[-1].seq if entries else 0
        if self._told is not None:
            for entry in _of_its_own_accord(entries, self._told):
                structlog.get_logger().error("migration turned back", reason=entry.reason)
                self._looked_after.append(_Rollback(entry, time.monotonic() + _REMEMBERED_S))
        self._told = newest
        for each in [each for each in self._looked_after if each.due_at <= time.monotonic()]:
            if await self._is_seen_to(each):
                self._looked_after.remove(each)

    async def _is_seen_to(self, rollback: "_Rollback") -> bool:
        """Post it, unless another process is at it; whether there is no need to look after it again."""
        mark, was_tried = f"alarm:{rollback.entry.hash}", rollback.due_at > 0
        if await self._once.is_first(mark, self._attempt_s):
            if (await notify(self._settings, _event(rollback.entry))).delivered:
                await self._once.keep(mark, _REMEMBERED_S)
                return True
        elif was_tried:
            return True  # it was taken, or another process tries once more
        rollback.due_at = time.monotonic() + self._attempt_s
        return self._settings.url is None or rollback.due_at > rollback.until


@dataclass(slots=True)
class _Rollback:
    """One to be told of until ``until``, next when ``due_at`` has come, both by this process's clock."""

    entry: AuditEntry
    until: float
    due_at: float = 0.0


def _of_its_own_accord(entries: Iterable[AuditEntry], after_seq: int) -> list[AuditEntry]:
    return [
        each for each in entries if each.seq > after_seq and (each.actor, each.action) == (ITSELF, "rollback")
    ]


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
