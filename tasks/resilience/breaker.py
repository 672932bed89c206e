"""The breaker in front of one dependency: shared by all processes, of its own while Redis is away."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar
from uuid import uuid4

import structlog

from crucible.errors import CircuitOpen, ServiceUnavailable
from executors.gates import Outcome
from tasks.resilience.circuit import Change, Circuit, Rules, Verdict
from tasks.resilience.shared import SharedCircuit, jitter

T = TypeVar("T")

_TRUSTED_MS = 100
"""How long a closed circuit is taken to be closed, and successes are kept back: there may be very many."""
_AWAY_MS = 2_000


class Breaker:
    """A ``Gate`` that shuts when too many calls fail. Safe to use from several threads.

    Without ``shared``, and while Redis does not answer, this process counts for itself by the same rules.
    """

    def __init__(self, name: str, rules: Rules, shared: SharedCircuit | None) -> None:
        self._name, self._rules, self._shared = name, rules, shared
        self._local = Circuit(rules)
        self._lock = threading.Lock()
        self._trusted_until = self._away_until = self._say_at = 0
        self._unsaid = 0
        self._probes: dict[str, threading.Event] = {}

    @property
    def name(self) -> str:
        """See ``Gate.name``."""
        return self._name

    def admit(self) -> str:
        """See ``Gate.admit``."""
        if _now_ms() < self._trusted_until:
            return ""
        token = uuid4().hex
        verdict = self._ask(
            lambda shared: self._follow(shared.allow(token)),
            lambda local: local.allow(_now_ms(), token),
        )
        if verdict.kind == "wait":
            raise CircuitOpen(self._name, verdict.wait_ms / 1000)
        if verdict.kind == "probe":
            self._begin_probe(token)
            return token
        self._trusted_until = _now_ms() + _TRUSTED_MS
        return ""

    def leave(self, ticket: str, outcome: Outcome) -> None:
        """See ``Gate.leave``."""
        if ticket:
            self._probes.pop(ticket).set()
            self._record(ticket, int(outcome == "answered"), int(outcome == "failed"))
        elif outcome == "failed":
            self._record("", self._take_unsaid(), 1)
        elif outcome == "answered" and (successes := self._take_unsaid(1, wait=True)):
            self._record("", successes, 0)

    def close(self) -> None:
        """Keeps the places of no more probes: those under way end by themselves."""
        for ended in list(self._probes.values()):
            ended.set()

    def _take_unsaid(self, more: int = 0, *, wait: bool = False) -> int:
        """The successes to record now, ``more`` of them new; none when they are to ``wait`` for others."""
        now = _now_ms()
        with self._lock:
            self._unsaid += more
            if wait and now < self._say_at:
                return 0
            taken, self._unsaid, self._say_at = self._unsaid, 0, now + _TRUSTED_MS
            return taken

    def _record(self, ticket: str, successes: int, failures: int) -> None:
        change: Change = self._ask(
            lambda shared: shared.record(ticket, successes, failures),
            lambda local: local.record(_now_ms(), ticket, successes, failures, jitter()),
        )
        if change in ("opened", "open"):
            self._trusted_until = 0
        if change in ("opened", "closed"):
            structlog.get_logger().warning(f"breaker {change}", dependency=self._name)

    def _follow(self, verdict: Verdict) -> Verdict:
        """Should Redis go away now, this process goes on as all of them stood."""
        with self._lock:
            self._local.follow(_now_ms(), verdict)
        return verdict

    def _begin_probe(self, token: str) -> None:
        ended = self._probes[token] = threading.Event()
        threading.Thread(target=self._keep_place, args=(token, ended), name="probe", daemon=True).start()

    def _keep_place(self, token: str, ended: threading.Event) -> None:
        while not ended.wait(self._rules.probe_ms / 3000):
            self._ask(lambda shared: shared.renew(token), lambda local: local.renew(_now_ms(), token))

    def _ask(self, shared: Callable[[SharedCircuit], T], local: Callable[[Circuit], T]) -> T:
        if self._shared is not None and _now_ms() >= self._away_until:
            try:
                return shared(self._shared)
            except ServiceUnavailable as error:
                self._away_until = _now_ms() + _AWAY_MS
                structlog.get_logger().warning(
                    "breaker counts for this process alone", dependency=self._name, reason=str(error)
                )
        with self._lock:
            return local(self._local)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
