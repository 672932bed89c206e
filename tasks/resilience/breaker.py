"""Breakers in front of dependencies, and their circuits, which all processes share.

Circuits are kept in the Redis of claims and replies by its clock: ``crucible:breaker:{dependency}:circuit``
is the text of a ``Circuit``.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeVar
from uuid import uuid4

import redis
import structlog

from crucible.errors import CircuitOpen, ServiceUnavailable
from crucible.settings import BreakerSettings, Settings, load
from executors.gates import Outcome
from tasks.background import BackgroundServices
from tasks.connections import RedisClient, address, sent_once
from tasks.resilience.circuit import Change, Circuit, Verdict
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


EXECUTORS = ("executor-1", "executor-2", "executor-3")
CELERY_REDIS = "celery-redis"
REDIS = "redis"
SHARED = (*EXECUTORS, CELERY_REDIS)
"""What all processes count together. Redis itself is not among them: who cannot reach it cannot share."""


class Breakers:
    """Makes breakers that share the Redis at ``redis_url``; connects to nothing yet."""

    def __init__(self, redis_url: str, settings: BreakerSettings, names: Mapping[str, str]) -> None:
        self._rules = settings
        self._names = names
        self._client = connect_briefly(redis_url)
        self._made: list[Breaker] = []

    def shared(self, dependency: str) -> Breaker:
        """The breaker of ``dependency``, the same one for all processes."""
        return self._keep(dependency, self._client)

    def of_executor(self, url: str) -> Breaker:
        """The shared breaker of the executor at ``url``, under its name if it has one."""
        return self.shared(self._names.get(url.rstrip("/")) or f"executor at {address(url)}")

    def own(self, dependency: str) -> Breaker:
        """A breaker for this process alone."""
        return self._keep(dependency, None)

    def keep_probes(self, services: BackgroundServices) -> None:
        """Keeps the places of this process's probes, however long they take, until ``services`` end."""
        services.every_in_thread(
            self._rules.probe_s / 3, "breaker probes", self._renew_probes, required=False
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _renew_probes(self) -> None:
        for breaker in self._made:
            breaker.renew_probes()

    def _keep(self, dependency: str, client: redis.Redis | None) -> Breaker:
        circuit = KeptCircuit(dependency, self._rules, client)
        self._made.append(Breaker(dependency, self._rules, circuit))
        return self._made[-1]


def breakers_of_process(redis_url: str) -> Breakers:
    """The breakers as the environment sets them; raises ``SettingsError``."""
    settings = load(Settings)
    urls = (settings.executor_1_url, settings.executor_2_url, settings.executor_3_url)
    names = {url.rstrip("/"): name for url, name in zip(urls, EXECUTORS, strict=True) if url}
    return Breakers(redis_url, load(BreakerSettings), names)
