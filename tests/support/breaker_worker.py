"""A process that asks one executor through its breaker.

Each refusal by the breaker is counted in Redis, so that a test can wait for refusals instead of for a time.
"""

import os
import time
from collections.abc import Mapping

import redis

from crucible.errors import CircuitOpen, ExecutorUnavailable
from crucible.settings import BreakerSettings, load
from executors.client import ExecutorClient
from tasks.background import BackgroundServices
from tasks.resilience.breaker import Breakers
from tests.support.forked import Forked
from tests.support.stub_executor import TOKEN

NAME = "executor-1"
REFUSED = "refused"
"""The hash of refusals by process id."""


def start(redis_url: str, executor_url: str, runs: int, **settings: str) -> Forked:
    """Such a process, which ends after so many ``runs``; ``settings`` are those of breakers."""
    environment = {f"CRUCIBLE_BREAKER_{name.upper()}": value for name, value in settings.items()}
    return Forked(_work, redis_url, executor_url, runs, environment)


def _work(redis_url: str, executor_url: str, runs: int, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    breakers = Breakers(redis_url, load(BreakerSettings), {executor_url: NAME})
    services = BackgroundServices()
    breakers.keep_probes(services)
    executor = ExecutorClient([executor_url], TOKEN, 0.01, 1, breakers.of_executor)
    counter = redis.Redis.from_url(redis_url)
    done = 0
    while done < runs:
        try:
            executor.execute(f"{os.getpid()}-{done}", "python", "", "", {})
        except CircuitOpen:
            counter.hincrby(REFUSED, str(os.getpid()), 1)
            time.sleep(0.01)
        except ExecutorUnavailable:
            pass
        else:
            done += 1
    services.stop_threads()
