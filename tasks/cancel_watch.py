"""How a worker hears that a run it has in hand was cancelled."""

from typing import cast

import redis
import structlog

from executors.killer import Killer
from tasks.cancellation import CANCELS, Entry, newest
from tasks.claims import Claims

_LOOK_EVERY_MS = 1_000
_AGAIN_MS = 100


class CancelWatch:
    """Has the executor end what was cancelled of a worker's live claims.

    New marks wake it at once. It also looks at the marks every second, so that it need not trust that it
    was woken: the marks are what counts.
    """

    def __init__(self, client: redis.Redis, claims: Claims, killer: Killer) -> None:
        self._redis, self._claims, self._killer = client, claims, killer
        self._last: str | None = None
        self._are_ending = False

    def look(self) -> None:
        """Wait for marks, a second at most, and have what they name ended.

        Raises ``ServiceUnavailable`` when Redis cannot be reached.
        """
        # Soon again until they have ended: a run that was just claimed may not have reached the executor yet.
        self._wait_for_marks(_AGAIN_MS if self._are_ending else _LOOK_EVERY_MS)
        run_ids = self._claims.cancelled()
        self._are_ending = bool(run_ids)
        if run_ids and self._killer.end(run_ids):
            structlog.get_logger().info("cancelled", run_ids=run_ids)

    def _wait_for_marks(self, within_ms: int) -> None:
        if self._last is None:
            self._last = newest(cast("list[Entry]", self._redis.xrevrange(CANCELS, count=1)))
        found = self._redis.xread({CANCELS: self._last}, block=within_ms)
        if found:
            ((_, entries),) = cast("list[tuple[bytes, list[Entry]]]", found)
            self._last = newest(entries)
