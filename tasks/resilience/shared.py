"""Circuits that all processes of a stack share, kept in the Redis of claims and replies by its clock.

Keys: ``crucible:breaker:{dependency}`` is the circuit, ``crucible:breaker:{dependency}:probe`` the place
of the one probe, which lives as long as its process says so.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast

import redis

from tasks import scripts
from tasks.reconnecting import sent_once
from tasks.redis_client import RedisClient
from tasks.resilience.circuit import SLOTS, Change, Rules, Verdict

_ANSWERS_WITHIN_S = 1.0
_LEAST_JITTER = 0.8
_SCRIPTS = ("breaker_allow", "breaker_record", "breaker_renew")


def connect_briefly(url: str) -> redis.Redis:
    """A client that says at once that Redis does not answer: a breaker must not be what one waits for."""
    return RedisClient.from_url(
        url,
        socket_timeout=_ANSWERS_WITHIN_S,
        socket_connect_timeout=_ANSWERS_WITHIN_S,
        retry=sent_once(),
    )


class SharedCircuit:
    """The circuit of ``dependency``, as one of its processes sees it. Safe to use from several threads.

    Every method raises ``ServiceUnavailable`` when Redis cannot be used, and does then as ``Circuit`` says.
    """

    def __init__(self, client: redis.Redis, dependency: str, rules: Rules) -> None:
        self._keys = circuit_key(dependency), _probe_key(dependency)
        self._rules = rules
        self._allow, self._record, self._renew = (
            client.register_script(scripts.source(name)) for name in _SCRIPTS
        )

    def allow(self, token: str) -> Verdict:
        """See ``Circuit.allow``; among all processes one probe is under way at most."""
        kind, wait_ms = self._allow(self._keys, (token, self._rules.probe_ms))
        return Verdict(kind.decode(), max(0, int(wait_ms)))

    def renew(self, token: str) -> None:
        """See ``Circuit.renew``."""
        self._renew(self._keys[1:], (token, self._rules.probe_ms))

    def record(self, token: str, successes: int, failures: int) -> Change:
        """See ``Circuit.record``."""
        rules = self._rules
        terms = (rules.ratio, rules.minimum, rules.window_ms, rules.open_ms, rules.longest_open_ms, SLOTS)
        outcome = (token, successes, failures, jitter())
        return cast("Change", self._record(self._keys, (*outcome, *terms)).decode())


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
    for dependency in dependencies:
        pipeline.hgetall(circuit_key(dependency))
        pipeline.exists(_probe_key(dependency))
    (seconds, microseconds), *found = pipeline.execute()
    now_ms = seconds * 1000 + microseconds // 1000
    return [
        _state(dependency, entries, now_ms, window_s, probing=bool(probing))
        for dependency, entries, probing in zip(dependencies, found[::2], found[1::2], strict=True)
    ]


def circuit_key(dependency: str) -> str:
    """Key of the circuit of ``dependency``."""
    return f"crucible:breaker:{dependency}"


def jitter() -> float:
    """By which part of its time a circuit stays open, so that many do not ask again at once."""
    return random.uniform(_LEAST_JITTER, 1.0)  # noqa: S311


def _probe_key(dependency: str) -> str:
    return f"{circuit_key(dependency)}:probe"


def _state(
    dependency: str, entries: dict[bytes, bytes], now_ms: int, window_s: float, *, probing: bool
) -> BreakerState:
    until = entries.get(b"until")
    if until is not None:
        standing: Literal["open", "half-open"] = "open" if int(until) > now_ms else "half-open"
        open_until = datetime.fromtimestamp(int(until) / 1000, UTC)
        failures, volume = int(entries[b"failures"]), int(entries[b"volume"])
        return BreakerState(dependency, standing, failures, volume, open_until, probing)
    oldest = now_ms * SLOTS // int(window_s * 1000) - SLOTS
    recent = {name: int(value) for name, value in entries.items() if int(name[1:]) > oldest}
    failures = sum(value for name, value in recent.items() if name.startswith(b"f"))
    return BreakerState(dependency, "closed", failures, sum(recent.values()), None, probing)
