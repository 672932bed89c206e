"""Whether a Celery worker still takes what waits. After a loss of the broker one sometimes no longer does.

Such a worker looks well: its process lives and its threads are idle. So what counts is that nothing waits, or
that something is being carried. Whoever started the process starts it again.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import redis
import structlog


class Liveness:
    """Calls ``on_stuck`` once runs have waited for ``stuck_after_s`` with none being carried.

    It has to ``look`` again and again for that. A broker that is away has nothing waiting.
    """

    def __init__(
        self, broker: redis.Redis, queues: Sequence[str], stuck_after_s: float, on_stuck: Callable[[], None]
    ) -> None:
        self._broker, self._queues = broker, queues
        self._stuck_after_s, self._on_stuck = stuck_after_s, on_stuck
        self._lock = threading.Lock()
        self._carried = self._begun = 0
        self._waiting_since: float | None = None

    @contextmanager
    def carrying(self) -> Iterator[None]:
        """While a run is carried, by any of the worker's threads."""
        with self._lock:
            self._carried += 1
            self._begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._carried -= 1
                self._waiting_since = None

    def look(self) -> None:
        """See whether runs wait, and for how long none was carried meanwhile.

        Raises ``ServiceUnavailable`` when the broker cannot be reached.
        """
        since, begun, now = self._waiting_since, self._begun, time.monotonic()
        self._waiting_since = None
        if self._carried or not self._is_waited_for() or begun != self._begun:
            return
        self._waiting_since = now if since is None else since
        if now - self._waiting_since >= self._stuck_after_s:
            structlog.get_logger().error("takes nothing of what waits", for_s=self._stuck_after_s)
            self._on_stuck()

    def _is_waited_for(self) -> bool:
        pipeline = self._broker.pipeline(transaction=False)
        for queue in self._queues:
            pipeline.llen(queue)
        return any(pipeline.execute())
