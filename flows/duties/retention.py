"""Deletes old evaluations once a day, where a retention is set."""

from datetime import UTC, datetime, timedelta

import structlog

from crucible.store.pruning import prune
from crucible.store.retention import RetentionStore

_EVERY = timedelta(days=1)


class Retention:
    """Keeps settled evaluations for ``days``."""

    def __init__(self, store: RetentionStore, days: float) -> None:
        self._store, self._days = store, days

    async def round(self) -> None:
        """Delete what is old, unless that was begun within the last day. Raises as ``Store`` does."""
        if await self._store.is_due(_EVERY):
            done = await prune(self._store, datetime.now(UTC) - timedelta(days=self._days))
            structlog.get_logger().info(
                "old evaluations let go", pairs_closed=done.closed, number=done.let_go
            )
