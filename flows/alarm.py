"""Tells somebody when the migration has turned back by itself."""

import asyncio
from collections.abc import Iterable

import structlog

from crucible.errors import PlatformError
from crucible.rollout.audit import ITSELF, AuditEntry
from crucible.settings import WebhookSettings, load
from crucible.store import Store
from flows.notify import notify

_LOOK_EVERY_S = 1.0
_NEWEST = 20


class Alarm:
    """Looks at the log of changes, and posts what nobody asked for to the webhook; ``run`` must go on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._settings = load(WebhookSettings)
        self._told: int | None = None

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
                await notify(self._settings, _event(entry))
        self._told = newest


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
