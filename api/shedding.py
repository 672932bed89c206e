"""When the API lets shadow work go, so that there is room for what users wait for."""

import structlog

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
