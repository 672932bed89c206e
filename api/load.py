"""How full the queue is: how fast it moves, and when shadow work is shed so that there is room for users."""

import math
import time
from collections import deque
from collections.abc import Callable

import structlog

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


_ENDS_BELOW = 0.8
"""Part of the threshold below which it ends: otherwise it would begin and end with every batch."""


class Shedding:
    """Begins when more than the part ``above`` of the queue is taken, and ends when clearly less is."""

    def __init__(self, above: float) -> None:
        self._above = above
        self._going_on = False
        self._shed = 0
        self._log = structlog.get_logger()

    def look(self, load: float, number: int) -> bool:
        """Whether ``number`` evaluations go without their shadow, now that the part ``load`` is taken."""
        if not self._going_on and load > self._above:
            self._going_on = True
            self._log.warning("shadow work shed from now on", load=round(load, 3), above=self._above)
        elif self._going_on and load <= self._above * _ENDS_BELOW:
            self._going_on = False
            self._log.warning("shadow work done again", load=round(load, 3), submitted_meanwhile=self._shed)
            self._shed = 0
        if self._going_on:
            self._shed += number
        return self._going_on
