"""The breakers of one process, by the names of what stands behind them."""

from collections.abc import Mapping

import redis

from crucible.settings import BreakerSettings, Settings, load
from tasks.background import BackgroundServices
from tasks.connections import address
from tasks.resilience.breaker import Breaker, KeptCircuit, connect_briefly

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
