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

from crucible.errors import ServiceUnavailable

_LOOK_EVERY_S = 1.0


class Liveness:
    """A thread that calls ``on_stuck`` once runs have waited for ``stuck_after_s`` with none being carried.

    A broker that is away has nothing waiting.
    """

    def __init__(
        self,
        broker: redis.Redis,
        queues: Sequence[str],
        stuck_after_s: float,
        on_stuck: Callable[[], None],
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._broker, self._queues = broker, queues
        self._stuck_after_s, self._on_stuck, self._look_every_s = stuck_after_s, on_stuck, look_every_s
        self._lock = threading.Lock()
        self._carried = 0
        self._well_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liveness", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._well_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread."""
        self._stopping.set()

    @contextmanager
    def carrying(self) -> Iterator[None]:
        """While a run is carried, by any of the worker's threads."""
        with self._lock:
            self._carried += 1
        try:
            yield
        finally:
            with self._lock:
                self._carried -= 1
                self._well_at = time.monotonic()

    def _run(self) -> None:
        while not self._stopping.wait(self._look_every_s):
            if self._carried or not self._is_waited_for():
                self._well_at = time.monotonic()
            elif time.monotonic() - self._well_at >= self._stuck_after_s:
                structlog.get_logger().error("takes nothing of what waits", for_s=self._stuck_after_s)
                self._on_stuck()
                return

    def _is_waited_for(self) -> bool:
        pipeline = self._broker.pipeline(transaction=False)
        for queue in self._queues:
            pipeline.llen(queue)
        try:
            return any(pipeline.execute())
        except ServiceUnavailable:
            return False
