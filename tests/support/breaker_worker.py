"""A process that asks one executor through its breaker: ``python -m tests.support.breaker_worker``.

Arguments: Redis URL, executor URL, number of runs to see through. Each refusal by the breaker is counted
under ``refused:{pid}`` in that Redis, so that a test can wait for refusals instead of for a time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import redis

from crucible.errors import CircuitOpen, ExecutorUnavailable
from crucible.settings import BreakerSettings, load
from executors.client import ExecutorClient
from tasks.background import BackgroundServices
from tasks.resilience.breaker import Breakers
from tests.support.stub_executor import TOKEN

ROOT = Path(__file__).parents[2]
NAME = "executor-1"
REFUSED = "refused"


def start(redis_url: str, executor_url: str, runs: int, **settings: str) -> subprocess.Popen:
    """Such a process, with these settings of breakers."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.breaker_worker", redis_url, executor_url, str(runs)],
        cwd=ROOT,
        env=os.environ | {f"CRUCIBLE_BREAKER_{name.upper()}": value for name, value in settings.items()},
        stdout=subprocess.DEVNULL,
    )


def _main(redis_url: str, executor_url: str, runs: int) -> None:
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


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
