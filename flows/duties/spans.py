"""Has the store forget spans that are too old, and the oldest of too many."""

import asyncio
import time

from crucible.store.spans import SpanStore
from crucible.telemetry.settings import TraceSettings

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
