"""When a dependency is left alone: a circuit, which follows the rules of ``BreakerSettings``.

A circuit is closed (calls pass), open (none does) or, once it has been open long enough, half-open: one
call at a time passes as a probe, and what comes of it closes the circuit or opens it for longer.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

import orjson

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
class Slot:
    """Calls of one part of the window."""

    number: int = 0
    calls: int = 0
    failures: int = 0


@dataclass(slots=True)
class Circuit:
    """A circuit, as text wherever it is kept. It reads no clock: all ``now_ms`` are of one clock.

    ``opened_by`` are the calls that opened it, as long as it is open.
    """

    open_until_ms: int | None = None
    times: int = 0
    opened_by: Slot = field(default_factory=Slot)
    probe: str = ""
    probe_until_ms: int = 0
    window: list[Slot] = field(default_factory=list)

    @classmethod
    def read(cls, text: bytes) -> Self:
        """The circuit that ``write`` made ``text`` of; a new one when that is empty."""
        fields = orjson.loads(text or b"{}")
        opened_by, window = fields.pop("opened_by", {}), fields.pop("window", ())
        return cls(**fields, opened_by=Slot(**opened_by), window=[Slot(**each) for each in window])

    def write(self) -> bytes:
        """Its text, which is the same for the same circuit."""
        return orjson.dumps(self)

    def allow(self, now_ms: int, rules: BreakerSettings, token: str) -> Verdict:
        """Whether a call may pass; as a probe it must be recorded under ``token``."""
        if self.open_until_ms is None:
            return Verdict("pass")
        taken_until_ms = max(self.open_until_ms, self.probe_until_ms if self.probe else 0)
        if now_ms < taken_until_ms:
            return Verdict("wait", taken_until_ms - now_ms)
        self.probe = token
        self.renew(now_ms, rules, token)
        return Verdict("probe")

    def renew(self, now_ms: int, rules: BreakerSettings, token: str) -> None:
        """Keeps the place of the probe ``token``, if it still has it."""
        if self.probe == token:
            self.probe_until_ms = now_ms + int(rules.probe_s * 1000)

    def record(
        self, now_ms: int, rules: BreakerSettings, token: str, successes: int, failures: int, jitter: float
    ) -> Change:
        """Takes outcomes into account: of the probe ``token``, or of calls that passed when it is empty.

        A probe without outcome frees its place. What began before the circuit opened changes nothing. It
        opens for ``jitter``, at most 1, of its time.
        """
        if token:
            return self._probed(now_ms, rules, token, successes, failures, jitter)
        if self.open_until_ms is not None:
            return "open"
        self._count(now_ms, rules, successes, failures)
        recent = self.recent(now_ms, rules.window_s)
        if failures and recent.calls >= rules.minimum and recent.failures >= rules.ratio * recent.calls:
            return self._open(now_ms, rules, jitter, recent)
        return ""

    def recent(self, now_ms: int, window_s: float) -> Slot:
        """The calls that passed in the window that ends now."""
        newest = _slot_number(now_ms, window_s)
        slots = [each for each in self.window if each.number > newest - SLOTS]
        return Slot(newest, sum(each.calls for each in slots), sum(each.failures for each in slots))

    def _count(self, now_ms: int, rules: BreakerSettings, successes: int, failures: int) -> None:
        number = _slot_number(now_ms, rules.window_s)
        calls = successes + failures
        if self.window and self.window[-1].number >= number:
            last = self.window.pop()
            number, calls, failures = last.number, calls + last.calls, failures + last.failures
        self.window = [*self.window[1 - SLOTS :], Slot(number, calls, failures)]

    def _probed(
        self, now_ms: int, rules: BreakerSettings, token: str, successes: int, failures: int, jitter: float
    ) -> Change:
        if self.probe != token:
            return "" if self.open_until_ms is None else "open"
        self.probe = ""
        if failures:
            return self._open(now_ms, rules, jitter, Slot(0, failures, failures))
        if not successes:
            return "open"
        self.open_until_ms, self.times, self.opened_by = None, 0, Slot()
        return "closed"

    def _open(self, now_ms: int, rules: BreakerSettings, jitter: float, opened_by: Slot) -> Change:
        self.times += 1
        open_s = min(rules.open_s * 2.0 ** min(self.times - 1, 30), rules.longest_open_s)
        self.open_until_ms, self.opened_by = now_ms + int(open_s * 1000 * jitter), opened_by
        self.window.clear()
        return "opened"


def _slot_number(now_ms: int, window_s: float) -> int:
    return now_ms * SLOTS // int(window_s * 1000)
