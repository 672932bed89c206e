"""How long to pause before an executor is asked again: as long as it asked for, else at random."""

from tenacity import RetryCallState

from crucible.retries import Patience
from executors.gates import Turns

LONGEST_S = 30.0
"""An executor estimates by the past; whatever it says, somebody looks again after this time."""


class Pauses:
    """``wait`` and ``stop`` of one call, for tenacity: ``patience``, but for what executors ask for.

    Pauses that were asked for do not use up the time of ``patience`` until they are ``granted_s`` seconds in
    all: an executor that has enough to do has not failed. They count as attempts all the same.
    """

    def __init__(self, patience: Patience, turns: Turns, granted_s: float) -> None:
        self._patience, self._turns, self._granted_s = patience, turns, granted_s
        self._own_wait = patience.wait
        self._used_s = 0.0

    def wait(self, state: RetryCallState) -> float:
        """What was asked for, and the random pause on top: many wait, and must not all come at once."""
        asked_s = min(self._turns.alone_s, LONGEST_S)
        self._used_s = min(self._used_s + asked_s, self._granted_s)
        return asked_s + self._own_wait(state)

    def stop(self, state: RetryCallState) -> bool:
        """Whether there have been enough attempts, or the next would come too late."""
        spent_s = (state.seconds_since_start or 0.0) + state.upcoming_sleep - self._used_s
        return state.attempt_number >= self._patience.attempts or spent_s >= self._patience.within_s
