"""When a dependency is left alone: the rules, and a circuit of one process that follows them.

A circuit is closed (calls pass), open (none does) or, once it has been open long enough, half-open: one
call at a time passes as a probe, and what comes of it closes the circuit or opens it for longer. The
scripts ``breaker_allow`` and ``breaker_record`` are the same rules for a circuit that processes share.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

from crucible.settings import BreakerSettings

SLOTS = 10
"""Into how many slots the window is cut; the oldest one is dropped as a whole."""

Change = Literal["", "opened", "closed", "open"]
"""What recording an outcome did: nothing to notice, opened or closed it, or nothing, for it is open."""


class Verdict(NamedTuple):
    """Whether a call may pass, plainly or as the one probe; else ``wait_ms`` says when to ask again."""

    kind: Literal["pass", "probe", "wait"]
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """When a circuit opens, and for how long; see ``BreakerSettings``. All times are milliseconds."""

    ratio: float
    minimum: int
    window_ms: int
    open_ms: int
    longest_open_ms: int
    probe_ms: int

    @classmethod
    def of(cls, settings: BreakerSettings) -> Self:
        """The rules that ``settings`` give."""
        return cls(
            ratio=settings.ratio,
            minimum=settings.minimum,
            window_ms=int(settings.window_s * 1000),
            open_ms=int(settings.open_s * 1000),
            longest_open_ms=int(settings.longest_open_s * 1000),
            probe_ms=int(settings.probe_s * 1000),
        )

    def opens(self, failures: int, volume: int) -> bool:
        """Whether so many failures among so many calls in one window open a closed circuit."""
        return volume >= self.minimum and failures >= self.ratio * volume

    def stays_open_ms(self, times: int, jitter: float) -> int:
        """How long it is open when it opened ``times`` times in a row; ``jitter`` is at most 1."""
        return int(min(self.open_ms * 2.0 ** min(times - 1, 30), self.longest_open_ms) * jitter)


@dataclass(slots=True)
class Circuit:
    """A circuit in memory. It reads no clock: ``now_ms`` must never go back."""

    rules: Rules
    open_until_ms: int | None = None
    _times: int = 0
    _probe: str = ""
    _probe_until_ms: int = 0
    _calls: Counter[int] = field(default_factory=Counter)
    _failures: Counter[int] = field(default_factory=Counter)

    def allow(self, now_ms: int, token: str) -> Verdict:
        """Whether a call may pass; as a probe it must be recorded under ``token``."""
        if self.open_until_ms is None:
            return Verdict("pass")
        if now_ms < self.open_until_ms:
            return Verdict("wait", self.open_until_ms - now_ms)
        if self._probe and now_ms < self._probe_until_ms:
            return Verdict("wait", self._probe_until_ms - now_ms)
        self._probe = token
        self.renew(now_ms, token)
        return Verdict("probe")

    def renew(self, now_ms: int, token: str) -> None:
        """Keeps the place of the probe ``token``, if it still has it."""
        if self._probe == token:
            self._probe_until_ms = now_ms + self.rules.probe_ms

    def record(self, now_ms: int, token: str, successes: int, failures: int, jitter: float) -> Change:
        """Takes outcomes into account: of the probe ``token``, or of calls that passed when it is empty.

        A probe without outcome frees its place. What began before the circuit opened changes nothing.
        """
        if token:
            return self._probed(now_ms, token, successes, failures, jitter)
        if self.open_until_ms is not None:
            return "open"
        slot = now_ms * SLOTS // self.rules.window_ms
        self._calls[slot] += successes + failures
        self._failures[slot] += failures
        for old in [each for each in self._calls if each <= slot - SLOTS]:
            del self._calls[old], self._failures[old]
        if failures and self.rules.opens(self._failures.total(), self._calls.total()):
            return self._open(now_ms, jitter)
        return ""

    def follow(self, now_ms: int, verdict: Verdict) -> None:
        """Stands from now on as another circuit of the same dependency does, which gave ``verdict``."""
        if verdict.kind == "pass":
            self.open_until_ms, self._times = None, 0
        else:
            self.open_until_ms = now_ms + verdict.wait_ms

    def _probed(self, now_ms: int, token: str, successes: int, failures: int, jitter: float) -> Change:
        if self._probe != token:
            return "open" if self.open_until_ms is not None else ""
        self._probe = ""
        if failures:
            return self._open(now_ms, jitter)
        if not successes:
            return "open"
        self.open_until_ms, self._times = None, 0
        return "closed"

    def _open(self, now_ms: int, jitter: float) -> Change:
        self._times += 1
        self.open_until_ms = now_ms + self.rules.stays_open_ms(self._times, jitter)
        self._calls.clear()
        self._failures.clear()
        return "opened"
