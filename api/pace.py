"""How fast a queue moves, and so when there will be room in it."""

import math
import time
from collections import deque
from collections.abc import Callable

_WINDOW_S = 60.0
_LEAST_SPAN_S = 1.0
_SHORTEST_S, _LONGEST_S = 1, 60


class Pace:
    """What has left a queue within the last minute. ``clock`` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._waiting = 0
        self._left: deque[tuple[float, int]] = deque()

    def look(self, waiting: int) -> None:
        """So many wait now. To be told before some are added, and again after that."""
        if waiting < self._waiting:
            self._left.append((self._clock(), self._waiting - waiting))
        self._waiting = waiting
        self._forget()

    @property
    def retry_after_s(self) -> int:
        """In how many seconds about half of what waits will have left, at the pace of late; 1 to 60."""
        self._forget()
        span_s = max(min(self._clock() - self._since, _WINDOW_S), _LEAST_SPAN_S)
        left = sum(number for _, number in self._left)
        if not left:
            return _LONGEST_S if self._waiting else _SHORTEST_S
        return min(max(math.ceil(self._waiting / 2 * span_s / left), _SHORTEST_S), _LONGEST_S)

    def _forget(self) -> None:
        while self._left and self._left[0][0] < self._clock() - _WINDOW_S:
            self._left.popleft()
