"""Deletes what is old: settled evaluations once a day, where a retention is set, and spans."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import structlog

from crucible.store.retention import RetentionStore, prune
from crucible.store.spans import SpanStore
from crucible.telemetry.settings import TraceSettings

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


_AT_ONCE = 500
_BETWEEN_STEPS_S = 0.05
_DAY_US = 86_400_000_000


class SpanRetention:
    """Keeps spans for as long, and as many, as ``settings`` say."""

    def __init__(self, spans: SpanStore, settings: TraceSettings) -> None:
        self._spans, self._settings = spans, settings

    async def round(self) -> None:
        """Forget what there is to forget now, in steps that hold nobody up. Raises as ``Store`` does."""
        by_age = time.time_ns() // 1000 - int(self._settings.keep_days * _DAY_US)
        by_number = await self._spans.oldest_kept(self._settings.keep_spans)
        before = max(by_age, by_number)
        while await self._spans.forget(before, _AT_ONCE):  # noqa: ASYNC110 (steps, no wait)
            await asyncio.sleep(_BETWEEN_STEPS_S)
