"""Circuits that all processes of a stack share, kept in the Redis of claims and replies by its clock.

Keys: ``crucible:breaker:{dependency}:circuit`` is the text of a ``Circuit``.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

import redis
import structlog

from crucible.errors import ServiceUnavailable
from crucible.settings import BreakerSettings
from tasks.reconnecting import sent_once
from tasks.redis_client import RedisClient
from tasks.resilience.circuit import Circuit
from tasks.scripts import signatures

T = TypeVar("T")

_ANSWERS_WITHIN_S = 1.0
_AWAY_MS = 2_000
_OPEN_TIMES_KEPT = 11
"""Nobody needs a circuit that nobody has asked for in so many of its longest open times."""
_UNSEEN = b"{}"
"""The text of a new circuit that Redis never has: so the first look tells what it has, and its time."""


def connect_briefly(url: str) -> redis.Redis:
    """A client that says at once that Redis does not answer: a breaker must not be what one waits for."""
    return RedisClient.from_url(
        url,
        socket_timeout=_ANSWERS_WITHIN_S,
        socket_connect_timeout=_ANSWERS_WITHIN_S,
        retry=sent_once(),
    )


class KeptCircuit:
    """The circuit of ``dependency``, as one of its processes has it. Safe to use from several threads.

    Without ``client``, and while Redis does not answer, this process has one of its own, which begins as the
    shared one was when it was seen last.
    """

    def __init__(self, dependency: str, rules: BreakerSettings, client: redis.Redis | None) -> None:
        self._dependency = dependency
        self._ttl_ms = int((2 * rules.window_s + _OPEN_TIMES_KEPT * rules.longest_open_s) * 1000)
        self._exchange = signatures.exchange.on(client) if client else None
        self._lock = threading.Lock()
        self._text = _UNSEEN
        self._ahead_ms = self._away_until = 0

    def change(self, step: Callable[[Circuit, int], T]) -> T:
        """What ``step`` returns, which gets the circuit and the time in ms, and may change the circuit.

        It is called again when another process has changed the circuit meanwhile.
        """
        while self._exchange and monotonic_ms() >= self._away_until:
            expected = self._text
            wanted, result = self._stepped(expected, step)
            try:
                done, self._text, now_ms = self._exchange(
                    text=circuit_key(self._dependency), expected=expected, wanted=wanted, ttl_ms=self._ttl_ms
                )
            except ServiceUnavailable as error:
                self._away_until = monotonic_ms() + _AWAY_MS
                structlog.get_logger().warning(
                    "breaker counts for this process alone", dependency=self._dependency, reason=str(error)
                )
                break
            self._ahead_ms = now_ms - monotonic_ms()
            if done:
                return result
        with self._lock:
            self._text, result = self._stepped(self._text, step)
            return result

    def _stepped(self, text: bytes, step: Callable[[Circuit, int], T]) -> tuple[bytes, T]:
        circuit = Circuit.read(text)
        result = step(circuit, monotonic_ms() + self._ahead_ms)
        return circuit.write(), result


@dataclass(frozen=True, slots=True)
class BreakerState:
    """How a breaker stands.

    ``failures`` of ``volume`` calls failed in the window, or in the one that opened it; ``probing`` says
    that a call is under way of which it depends whether it closes.
    """

    dependency: str
    state: Literal["closed", "open", "half-open"]
    failures: int
    volume: int
    open_until: datetime | None
    probing: bool


def breakers(client: redis.Redis, dependencies: Sequence[str], window_s: float) -> list[BreakerState]:
    """How the breakers of ``dependencies`` stand; one that was never needed is closed.

    ``window_s`` is that of ``BreakerSettings``. Raises ``ServiceUnavailable`` when Redis cannot be used.
    """
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    pipeline.mget([circuit_key(each) for each in dependencies])
    (seconds, microseconds), texts = pipeline.execute()
    now_ms = seconds * 1000 + microseconds // 1000
    return [
        _state(dependency, Circuit.read(text or b""), now_ms, window_s)
        for dependency, text in zip(dependencies, texts, strict=True)
    ]


def circuit_key(dependency: str) -> str:
    """Key of the circuit of ``dependency``. Versions may mix: circuits with other fields need another key."""
    return f"crucible:breaker:{dependency}:circuit"


def monotonic_ms() -> int:
    """The clock of this machine that never goes back."""
    return time.monotonic_ns() // 1_000_000


def _state(dependency: str, circuit: Circuit, now_ms: int, window_s: float) -> BreakerState:
    until = circuit.open_until_ms
    if until is None:
        seen = circuit.recent(now_ms, window_s)
        return BreakerState(dependency, "closed", seen.failures, seen.calls, None, probing=False)
    seen, probing = circuit.opened_by, bool(circuit.probe) and now_ms < circuit.probe_until_ms
    return BreakerState(
        dependency=dependency,
        state="open" if until > now_ms else "half-open",
        failures=seen.failures,
        volume=seen.calls,
        open_until=datetime.fromtimestamp(until / 1000, UTC),
        probing=probing,
    )
