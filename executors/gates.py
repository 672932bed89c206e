"""Who may be asked now, and after which pause: gates in front of dependencies, as tenacity's hooks."""

import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from tenacity import RetryCallState

from crucible.errors import CircuitOpen
from crucible.retries import Patience

Outcome = Literal["answered", "failed", "unknown"]
"""What a call says of the dependency's health; a refusal is an answer, a defect of ours says nothing."""


class Gate(Protocol):
    """Stands in front of one dependency. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """What the dependency is called in messages, logs and metrics."""

    def admit(self) -> str:
        """Lets one call pass; returns the ticket to leave with. A ticket that is not empty is a probe's.

        Raises ``CircuitOpen`` when the dependency must be left alone.
        """

    def leave(self, ticket: str, outcome: Outcome) -> None:
        """Says what came of a call. To be called once for each ticket."""


class OpenGate:
    """A gate that lets everybody pass."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """See ``Gate.name``."""
        return self._name

    def admit(self) -> str:
        """See ``Gate.admit``."""
        return ""

    def leave(self, ticket: str, outcome: Outcome) -> None:
        """See ``Gate.leave``."""


class Turns:
    """The gates of one call that may be tried again: ``before`` and ``retry`` are tenacity's hooks.

    Each attempt goes through the first gate that is open, in the order given; after a failure the
    search begins behind the gate that failed, and the last is followed by the first. One whose dependency
    asked to be left alone comes after all others until that time is over. ``judge`` says what an error tells
    of the dependency, ``is_passing`` whether it is worth another attempt, ``asks_s`` for how many seconds
    the dependency asked to be left alone with it.
    """

    def __init__(
        self,
        gates: Sequence[Gate],
        judge: Callable[[BaseException], Outcome],
        is_passing: Callable[[BaseException], bool],
        asks_s: Callable[[BaseException], float] = lambda _: 0.0,
    ) -> None:
        self._gates, self._judge, self._is_passing, self._asks_s = gates, judge, is_passing, asks_s
        self._alone_until = [0.0] * len(gates)
        self._next = 0
        self.chosen = 0
        self.ticket = ""

    def before(self, _state: RetryCallState) -> None:
        """Chooses a gate for this attempt. Raises the ``CircuitOpen`` that ends first when none is open."""
        shut = []
        now = time.monotonic()
        in_turn = ((self._next + offset) % len(self._gates) for offset in range(len(self._gates)))
        for number in sorted(in_turn, key=lambda each: max(now, self._alone_until[each])):
            try:
                self.ticket = self._gates[number].admit()
            except CircuitOpen as error:
                shut.append(error)
                self._alone_until[number] = now + error.retry_in_s
            else:
                self.chosen, self._next = number, number + 1
                return
        raise min(shut, key=lambda error: error.retry_in_s)

    def retry(self, state: RetryCallState) -> bool:
        """Tells the gate what came of this attempt; returns whether it is worth another one."""
        error = state.outcome.exception() if state.outcome else None
        outcome: Outcome = "answered" if error is None else self._judge(error)
        self._gates[self.chosen].leave(self.ticket, outcome)
        if error is not None:
            self._alone_until[self.chosen] = time.monotonic() + self._asks_s(error)
        return error is not None and self._is_passing(error)

    @property
    def alone_s(self) -> float:
        """Seconds for which all dependencies asked to be left alone."""
        return max(0.0, min(self._alone_until) - time.monotonic())


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
