"""The worker of the legacy leg: ``python -m tasks.legacy_leg.worker``."""

import os
import signal
import sys
import threading
import time
from types import FrameType

import redis
import structlog

from crucible.errors import CrucibleError, InputError, ServiceUnavailable
from crucible.settings import LegacySettings, load
from crucible.telemetry.handing import TakeSpans
from crucible.telemetry.metrics_server import metrics_served
from executors.client import ExecutorClient
from executors.killer import Killer
from tasks.cancel_watch import CancelWatch
from tasks.claims import Claim, ClaimKeeper, Claims, ClaimState
from tasks.connections import connect, wait_until_there
from tasks.legacy_leg.payload import decode
from tasks.legacy_leg.queue import LegacyQueue
from tasks.resilience.breakers import breakers_of_process
from tasks.runner import run_one
from tasks.traced_process import traced_process
from tasks.worker_process import (
    STOP_WITHIN_S,
    WorkerOptions,
    announce_ready,
    options_from_environment,
    start_log,
)
from tasks.worker_telling import show_nothing_yet

_PAUSE_AFTER_DEFECT_S = 0.5


class LegacyWorker:
    """Threads that each take a payload, see it through and take the next; they mostly wait.

    A payload that is not seen through, whatever happened to this process, is queued again by the
    reaper of another worker when its lease is over.
    """

    def __init__(self, options: WorkerOptions, settings: LegacySettings, take_spans: TakeSpans) -> None:
        self._options, self._settings = options, settings
        self._redis = connect(options.redis_url, settings.concurrency + 4)
        self._queue = LegacyQueue(self._redis, settings, options.terms.lease_ms)
        self._claims = Claims(self._redis, "legacy", options.name, options.terms, self._queue.books)
        self._keeper = ClaimKeeper(self._claims, options.renew_every_s)
        breakers = breakers_of_process(options.redis_url)
        self._executor = ExecutorClient(
            settings.executor_urls,
            options.executor_token,
            options.retry_s,
            settings.concurrency,
            breakers.of_executor,
            take_spans,
        )
        killer = Killer(settings.executor_urls, options.executor_token)
        self._watch = CancelWatch(self._redis, self._claims, killer)
        self._stopping = threading.Event()
        self._log = structlog.get_logger()
        show_nothing_yet("legacy")

    def run(self) -> None:
        """Works until ``stop``; then finishes what runs, or gives it back when that takes too long."""
        if not wait_until_there(self._redis, self._stopping.wait, self._redis_absent):
            return
        self._keeper.start()
        self._watch.start()
        names = [f"run-{number}" for number in range(self._settings.concurrency)]
        threads = [threading.Thread(target=self._serve, name=name, daemon=True) for name in names]
        for thread in threads:
            thread.start()
        announce_ready()
        while not self._stopping.wait(self._settings.reap_every_s):
            self._reap()
        self._finish(threads)

    def stop(self) -> None:
        """Asks ``run`` to end; returns at once."""
        self._stopping.set()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                payload = self._queue.take()
                if payload is None:
                    self._queue.listen()
                else:
                    self._see_through(payload)
            except ServiceUnavailable as error:
                self._redis_absent(error)
                if isinstance(error, redis.OutOfMemoryError):  # one that is full answers pings
                    self._stopping.wait(_PAUSE_AFTER_DEFECT_S)
                wait_until_there(self._redis, self._stopping.wait, lambda _: None)
            except Exception:  # noqa: BLE001
                # The edge of a thread: a defect in one run must not take the thread from all others.
                self._log.exception("run failed; its lease will run out")
                self._stopping.wait(_PAUSE_AFTER_DEFECT_S)

    def _see_through(self, payload: bytes) -> None:
        try:
            run = decode(payload, self._settings)
        except InputError as error:
            self._log.warning("dead letter", reason=str(error))
            self._queue.bury(payload, str(error))
        else:
            run_one(run, self._claims, self._executor)

    def _reap(self) -> None:
        try:
            for payload in self._queue.reap(self._options.name):
                self._report_dead(payload)
        except ServiceUnavailable as error:
            self._log.warning("leases not looked through", reason=str(error))

    def _report_dead(self, payload: bytes) -> None:
        try:
            run = decode(payload, self._settings)
        except InputError:
            return
        nobody = Claim(run, ClaimState.HELD, token="", taken_at=int(time.time() * 1000))
        times = self._settings.max_attempts
        self._claims.fault(nobody, f"taken {times} times and never answered; a dead letter now")

    def _finish(self, threads: list[threading.Thread]) -> None:
        deadline = time.monotonic() + STOP_WITHIN_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._keeper.stop()
        self._watch.stop()
        try:
            given_back = self._claims.release()
        except ServiceUnavailable as error:
            self._log.warning("runs not given back; their leases will run out", reason=str(error))
        else:
            self._log.info("stopped", given_back=given_back)

    def _redis_absent(self, error: Exception) -> None:
        self._log.warning("waiting for Redis", reason=str(error))


def main() -> int:
    """Runs the worker that the environment describes until SIGTERM or SIGINT; returns the exit status."""
    try:
        options, settings = options_from_environment(), load(LegacySettings)
        start_log(options.name)
        with metrics_served(), traced_process(options.name, options.redis_url) as outbox:
            _work(LegacyWorker(options, settings, outbox.put))
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
