"""What one would write with Celery alone: a chord of two tasks over the same executors, and a comparison.

Ordinary Celery: messages and results on one Redis, early acknowledgement, the usual prefetching. Nothing
of what Crucible adds: no ledger, no deadline, no resending, no flow to look at.

``python -m bench.contenders.chord_app`` is its worker, one process with threads.
"""

import os
import signal
import threading
from itertools import cycle
from typing import Any

import httpx
from celery import Celery, signals

from bench.child import Orders

THREADS = 12
"""As many as the threads of Crucible's three workers together."""

_COMPARED = ("outcome", "exit_code", "signal", "stdout_b64", "stderr_b64")
_TIMEOUT_S = 60.0


def environment_of(redis_url: str, executor_urls: tuple[str, ...], token: str) -> dict[str, str]:
    """What ``make_app`` finds in the environment of client and worker."""
    return {
        "BENCH_REDIS_URL": redis_url,
        "BENCH_EXECUTOR_URLS": ",".join(executor_urls),
        "BENCH_EXECUTOR_TOKEN": token,
    }


def make_app() -> Celery:
    """The application, for its client and its worker alike."""
    url = os.environ["BENCH_REDIS_URL"]
    app = Celery("bench", broker=url, backend=url)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        result_expires=3600,
        worker_concurrency=THREADS,
        worker_pool="threads",
        worker_send_task_events=False,
    )
    first, second, third = os.environ["BENCH_EXECUTOR_URLS"].split(",")
    executors = _Executors(os.environ["BENCH_EXECUTOR_TOKEN"])
    by_turns = cycle((first, second))

    def legacy_like(program: dict[str, Any]) -> dict[str, Any]:
        return executors.run(next(by_turns), program)

    def celery_task(program: dict[str, Any]) -> dict[str, Any]:
        return executors.run(third, program)

    def compare(observations: list[dict[str, Any]]) -> dict[str, Any]:
        legacy, celery = observations
        alike = all(legacy[field] == celery[field] for field in _COMPARED)
        return {
            "classification": "match" if alike else "mismatch",
            "programs_cpu_s": legacy["cpu_s"] + celery["cpu_s"],
        }

    def nothing() -> None:
        """Only the way there and back."""

    for task in (legacy_like, celery_task, compare, nothing):
        app.task(name=task.__name__)(task)
    return app


class _Executors:
    """Keep-alive clients, one for each thread."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._local = threading.local()

    def run(self, url: str, program: dict[str, Any]) -> dict[str, Any]:
        answer = self._client().post(f"{url}/execute", json=program)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _client(self) -> httpx.Client:
        if not hasattr(self._local, "client"):
            headers = {"Authorization": f"Bearer {self._token}"}
            self._local.client = httpx.Client(headers=headers, timeout=_TIMEOUT_S)
        client: httpx.Client = self._local.client
        return client


def main() -> None:
    """Say when the queue is being served, and work until the bench hangs up."""
    orders = Orders()

    def on_ready(**_: Any) -> None:
        orders.say_ready()
        threading.Thread(target=_end_with_bench, args=(orders,), daemon=True).start()

    signals.worker_ready.connect(on_ready)
    make_app().worker_main(
        ["worker", "--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    )


def _end_with_bench(orders: Orders) -> None:
    orders.next()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
