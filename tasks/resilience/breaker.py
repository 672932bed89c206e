"""The breaker in front of one dependency."""

import random
import threading
from functools import partial
from uuid import uuid4

import structlog

from crucible.errors import CircuitOpen
from crucible.settings import BreakerSettings
from executors.gates import Outcome
from tasks.resilience.circuit import Change, Circuit, Verdict
from tasks.resilience.shared import KeptCircuit, monotonic_ms

_TRUSTED_MS = 100
"""How long a closed circuit is taken to be closed, and successes are kept back: there may be very many."""
_LEAST_JITTER = 0.8


class Breaker:
    """A ``Gate`` that shuts when too many calls fail. Safe to use from several threads."""

    def __init__(self, name: str, rules: BreakerSettings, circuit: KeptCircuit) -> None:
        self._name, self._rules, self._circuit = name, rules, circuit
        self._lock = threading.Lock()
        self._trusted_until = self._unsaid = 0
        self._probes: set[str] = set()

    @property
    def name(self) -> str:
        """See ``Gate.name``."""
        return self._name

    def admit(self) -> str:
        """See ``Gate.admit``."""
        if monotonic_ms() < self._trusted_until:
            return ""
        token, successes = uuid4().hex, self._take_unsaid()

        def step(circuit: Circuit, now_ms: int) -> Verdict:
            if successes:
                circuit.record(now_ms, self._rules, "", successes, 0, 1.0)
            return circuit.allow(now_ms, self._rules, token)

        verdict = self._circuit.change(step)
        if verdict.kind == "wait":
            raise CircuitOpen(self._name, verdict.wait_ms / 1000)
        if verdict.kind == "probe":
            self._probes.add(token)
            return token
        self._trusted_until = monotonic_ms() + _TRUSTED_MS
        return ""

    def leave(self, ticket: str, outcome: Outcome) -> None:
        """See ``Gate.leave``."""
        if ticket:
            self._probes.remove(ticket)
            self._record(ticket, int(outcome == "answered"), int(outcome == "failed"))
        elif outcome == "failed":
            self._record("", self._take_unsaid(), 1)
        elif outcome == "answered":
            with self._lock:
                self._unsaid += 1

    def renew_probes(self) -> None:
        """Keeps the places of the probes under way, which otherwise are free after a while."""
        for token in self._probes.copy():
            self._circuit.change(partial(Circuit.renew, rules=self._rules, token=token))

    def _take_unsaid(self) -> int:
        with self._lock:
            taken, self._unsaid = self._unsaid, 0
            return taken

    def _record(self, ticket: str, successes: int, failures: int) -> None:
        jitter = random.uniform(_LEAST_JITTER, 1.0)  # noqa: S311  (so that many do not ask again at once)
        change: Change = self._circuit.change(
            lambda circuit, now_ms: circuit.record(now_ms, self._rules, ticket, successes, failures, jitter)
        )
        if change in ("opened", "open"):
            self._trusted_until = 0
        if change in ("opened", "closed"):
            structlog.get_logger().warning(f"breaker {change}", dependency=self._name)
