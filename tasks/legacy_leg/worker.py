"""The worker of the legacy leg: ``python -m tasks.legacy_leg.worker``."""

import os
import signal
import sys
import threading
import time
from collections import deque
from types import FrameType

import structlog

from crucible.errors import CrucibleError, InputError, ServiceUnavailable
from crucible.settings import LegacySettings, load
from crucible.telemetry.metrics import metrics_served
from crucible.telemetry.process import api_of_process, tracing
from executors.client import Killer
from tasks.background import BackgroundServices
from tasks.cancellation import CancelWatch
from tasks.claims import Claim, Claims, ClaimState
from tasks.connections import connect, wait_until_there
from tasks.leases import ServiceReports
from tasks.legacy_leg.queue import LegacyQueue, decode
from tasks.resilience.breaker import breakers_of_process
from tasks.worker_process import (
    STOP_WITHIN_S,
    WorkerOptions,
    announce_ready,
    executor_behind,
    options_from_environment,
    run_one,
    show_nothing_yet,
    start_log,
)

_LONGEST_RUN_S = 1800.0
"""Longer than any program may run, with all attempts."""


class LegacyWorker:
    """Threads that each take a payload, run it and take the next; they mostly wait.

    A payload that is not answered, whatever happened to this process, is queued again by the
    reaper of another worker when its lease is over.
    """

    def __init__(self, options: WorkerOptions, settings: LegacySettings) -> None:
        self._settings, self._renew_every_s = settings, options.renew_every_s
        self._redis = connect(options.redis_url, settings.concurrency + 4)
        self._queue = LegacyQueue(self._redis, settings, options.terms.lease_ms)
        self._claims = Claims(self._redis, "legacy", options.name, options.terms, self._queue.books)
        self._breakers = breakers_of_process(options.redis_url)
        self._executor = executor_behind(
            self._breakers, settings.executor_urls, options, self._claims, settings.concurrency
        )
        killer = Killer(settings.executor_urls, options.executor_token)
        self._watch = CancelWatch(self._redis, self._claims, killer)
        self._name, self._dead = options.name, deque[bytes]()
        self._background = BackgroundServices()
        self._reports = ServiceReports(options.redis_url, options.name, self._background)
        self._stopping = threading.Event()
        self._log = structlog.get_logger()
        show_nothing_yet("legacy")

    def run(self) -> None:
        """Works until ``stop``; then finishes what runs, or gives it back when that takes too long."""
        if not wait_until_there(self._redis, self._stopping.wait, self._redis_absent):
            return
        background = self._background
        background.every_in_thread(self._renew_every_s, "claim keeper", self._claims.renew)
        self._breakers.keep_probes(background)
        background.every_in_thread(0, "cancel watch", self._watch.look)
        background.every_in_thread(self._settings.reap_every_s, "lease reaper", self._reap)
        serving = [f"run-{number}" for number in range(self._settings.concurrency)]
        for name in serving:
            background.every_in_thread(0, name, self._serve, bound_s=_LONGEST_RUN_S)
        self._reports.open()
        announce_ready()
        self._stopping.wait()
        background.stop_threads(*serving, within_s=STOP_WITHIN_S)
        background.stop_threads(within_s=0)
        self._give_back()

    def stop(self) -> None:
        """Asks ``run`` to end; returns at once."""
        self._stopping.set()

    def _serve(self) -> None:
        """Take a payload and run it. What fails here leaves it to its lease, which will run out."""
        payload = self._queue.take()
        if payload is None:
            self._queue.listen()
            return
        try:
            run = decode(payload, self._settings)
        except InputError as error:
            self._log.warning("dead letter", reason=str(error))
            self._queue.bury(payload, str(error))
        else:
            run_one(run, self._claims, self._executor)

    def _reap(self) -> None:
        self._dead.extend(self._queue.reap(self._name))
        while self._dead:
            self._report_dead(self._dead[0])
            self._dead.popleft()

    def _report_dead(self, payload: bytes) -> None:
        try:
            run = decode(payload, self._settings)
        except InputError:
            return
        nobody = Claim(run, ClaimState.HELD, token="", taken_at=int(time.time() * 1000))
        times = self._settings.max_attempts
        self._claims.fault(nobody, f"taken {times} times and never answered; a dead letter now")

    def _give_back(self) -> None:
        try:
            given_back = self._claims.release()
        except ServiceUnavailable as error:
            self._log.warning("runs not given back; their leases will run out", reason=str(error))
        else:
            self._reports.close()
            self._log.info("stopped", given_back=given_back)

    def _redis_absent(self, error: Exception) -> None:
        self._log.warning("waiting for Redis", reason=str(error))


def main() -> int:
    """Runs the worker that the environment describes until SIGTERM or SIGINT; returns the exit status."""
    try:
        options, settings = options_from_environment(), load(LegacySettings)
        start_log(options.name)
        with metrics_served(), tracing(options.name, api_of_process()):
            _work(LegacyWorker(options, settings))
    except CrucibleError as error:
        sys.stderr.write(f"legacy worker: {error}\n")
        return 2
    return 0


def _work(worker: LegacyWorker) -> None:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    worker.run()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Threads that still wait for an executor are not waited for again: their runs were given back.
    os._exit(status)
