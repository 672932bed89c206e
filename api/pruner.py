"""Lets the old go once a day, where a retention is set: one process of all that share a store."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from crucible.errors import PlatformError
from crucible.settings import RetentionSettings
from crucible.store.pruning import prune
from crucible.store.retention import RetentionStore

_LOOK_EVERY_S = 60.0
_EVERY = timedelta(days=1)


class Pruner:
    """``run`` must go on in the background of one process or of several; each day one of them is elected."""

    def __init__(self, retention: RetentionStore, settings: RetentionSettings) -> None:
        self._retention, self._days = retention, settings.days
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Go on until cancelled; returns at once where everything is kept."""
        while self._days is not None:
            try:
                if await self._retention.is_due(_EVERY):
                    done = await prune(self._retention, datetime.now(UTC) - timedelta(days=self._days))
                    self._log.info("old evaluations let go", pairs_closed=done.closed, number=done.let_go)
            except PlatformError as error:
                self._log.warning("old evaluations not let go", reason=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)
