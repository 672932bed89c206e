"""How a worker hears that a run it has in hand was cancelled."""

import threading
from typing import cast

import redis
import structlog

from crucible.errors import ServiceUnavailable
from executors.killer import Killer
from tasks.cancellation import CANCELS, Entry, newest
from tasks.claims import Claims

_LOOK_EVERY_MS = 1_000
_AGAIN_S = 0.1
_PAUSE_S = 0.5


class CancelWatch:
    """A thread that has the executor end what was cancelled of a worker's live claims.

    New marks wake it at once. It also looks at the marks every second, so that it need not trust that it
    was woken: the marks are what counts.
    """

    def __init__(self, client: redis.Redis, claims: Claims, killer: Killer) -> None:
        self._redis, self._claims, self._killer = client, claims, killer
        self._last: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cancel-watch", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread, within a second or so."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._wait_for_marks()
                self._obey()
            except ServiceUnavailable as error:
                structlog.get_logger().warning("marks not looked at", reason=str(error))
                self._stopping.wait(_PAUSE_S)

    def _wait_for_marks(self) -> None:
        if self._last is None:
            self._last = newest(cast("list[Entry]", self._redis.xrevrange(CANCELS, count=1)))
        found = self._redis.xread({CANCELS: self._last}, block=_LOOK_EVERY_MS)
        if found:
            ((_, entries),) = cast("list[tuple[bytes, list[Entry]]]", found)
            self._last = newest(entries)

    def _obey(self) -> None:
        # Again until they have ended: a run that was just claimed may not have reached the executor yet.
        while run_ids := self._claims.cancelled():
            if self._killer.end(run_ids):
                structlog.get_logger().info("cancelled", run_ids=run_ids)
            if self._stopping.wait(_AGAIN_S):
                return
