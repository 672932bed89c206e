"""The worker of the Celery leg (``python -m tasks.celery_leg.worker``), and messages nobody can run."""

import os
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import redis
import structlog
from celery import Celery, signals
from kombu.transport.redis import Channel
from kombu.utils.json import dumps

from crucible.errors import CrucibleError, InputError, PlatformError, ServiceUnavailable, SettingsError
from crucible.settings import CelerySettings, Settings, load
from crucible.telemetry.metrics import metrics_served
from crucible.telemetry.process import api_of_process, tracing
from crucible.telemetry.spans import TRACEPARENT
from executors.client import Killer
from tasks.background import BackgroundServices
from tasks.cancellation import CancelWatch
from tasks.celery_leg.app import make_app, queue_keys
from tasks.celery_leg.consumer import send_together
from tasks.celery_leg.liveness import Liveness
from tasks.celery_leg.message import RUN_NAME, decode, priority_of, received
from tasks.celery_leg.transport import Acceptance
from tasks.claims import Claims, ClaimState
from tasks.connections import connect, wait_until_there
from tasks.dead_letters import LETTERS_KEPT, letter_keys
from tasks.dispatch import ENQUEUED_AT, traced
from tasks.leases import ServiceReports
from tasks.resilience.breaker import breakers_of_process
from tasks.scripts import signatures
from tasks.worker_process import (
    STOP_WITHIN_S,
    Executor,
    WorkerOptions,
    announce_ready,
    executor_behind,
    options_from_environment,
    run_one,
    show_nothing_yet,
    start_log,
)


def taken_key(run_id: str) -> str:
    """Key that counts how often a run was taken since it was last reported."""
    return f"crucible:taken:{run_id}:celery"


class Undeliverable:
    """Buries what cannot be delivered. Letters lie in ``broker``, Celery's Redis; counts with the claims.

    Safe to use from several threads.
    """

    def __init__(
        self, broker: redis.Redis, counts: redis.Redis, settings: CelerySettings, count_ttl_s: int
    ) -> None:
        self._broker, self._counts = broker, counts
        self._settings, self._ttl_s = settings, count_ttl_s
        self._bury = signatures.bury_message.on(broker)
        self._log = structlog.get_logger()

    def accept(self, queue: str, message: bytes) -> bool:
        """Whether ``message``, just taken from ``queue``, can be read; if not, it is a dead letter now."""
        try:
            decode(message)
        except InputError as error:
            self._log.warning("dead letter", reason=str(error))
            try:
                self._add("", str(error), 1, f"{self._settings.key_prefix}{queue}", message)
            except ServiceUnavailable as lost:
                self._log.warning("dead letter lost", reason=str(lost), payload=repr(message))
            return False
        return True

    def count(self, run_id: str) -> int:
        """Count that a worker begins with ``run_id``; returns how often one has by now."""
        pipeline = self._counts.pipeline(transaction=False)
        pipeline.incr(taken_key(run_id))
        pipeline.expire(taken_key(run_id), self._ttl_s)
        return int(pipeline.execute()[0])

    def forget(self, run_id: str) -> None:
        """Begin to count anew, for it was reported."""
        self._counts.delete(taken_key(run_id))

    def bury(self, run_id: str, tag: str, taken: int) -> str:
        """Make a dead letter of the message of ``tag``, still to be acknowledged; returns the reason."""
        reason = f"taken {taken} times and never answered"
        unacked = f"{self._settings.key_prefix}{Channel.unacked_key}"
        held = self._broker.hget(unacked, tag)
        if held is None:
            return reason  # the broker has handed it out once more: another delivery has it now
        # Written as kombu does: withdrawals look for ids in that very form.
        message = dumps(orjson.loads(held)[0]).encode()  # type: ignore[no-untyped-call]
        queue = queue_keys(self._settings)[priority_of(message)]
        self._add(run_id, reason, taken, queue, message)
        self.forget(run_id)
        return f"{reason}; a dead letter now"

    def _add(self, run_id: str, reason: str, taken: int, queue: str, message: bytes) -> None:
        self._bury(
            letters=letter_keys("celery"),
            letters_kept=LETTERS_KEPT,
            run_id=run_id,
            reason=reason,
            taken=taken,
            queue=queue,
            message=message,
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """An executor that refuses a run that was taken too often; to be asked once the run is claimed.

    ``tag`` is Celery's name for the message that is being delivered.
    """

    executor: Executor
    undeliverable: Undeliverable
    tag: str
    max_attempts: int

    def execute(
        self, run_id: str, language: str, code: str, stdin: str, limits: Mapping[str, object]
    ) -> bytes:
        """See ``ExecutorClient.execute``. Raises ``PlatformError`` when the run has become a dead letter."""
        taken = self.undeliverable.count(run_id) - 1
        if taken >= self.max_attempts:
            raise PlatformError(self.undeliverable.bury(run_id, self.tag, taken))
        return self.executor.execute(run_id, language, code, stdin, limits)


_STUCK_AFTER_S = 10.0
_LIVENESS_EVERY_S = 1.0


class CeleryWorker:
    """A Celery worker whose threads carry runs to the executor; they mostly wait.

    A run that is not seen through, whatever happened to this process, is sent again by the flow
    that waits for it when its claim is over.
    """

    def __init__(self, options: WorkerOptions, settings: CelerySettings, broker_url: str) -> None:
        self._broker_url, self._concurrency = broker_url, settings.concurrency
        self._redis = connect(options.redis_url, settings.concurrency + 3)
        self._claims = Claims(self._redis, "celery", options.name, options.terms)
        self._renew_every_s = options.renew_every_s
        self._breakers = breakers_of_process(options.redis_url)
        self._executor = executor_behind(
            self._breakers, [settings.executor_url], options, self._claims, settings.concurrency
        )
        killer = Killer([settings.executor_url], options.executor_token)
        self._watch = CancelWatch(self._redis, self._claims, killer)
        self._broker = connect(broker_url, 2)
        self._liveness = Liveness(self._broker, queue_keys(settings), _STUCK_AFTER_S, self._end_stuck)
        self._undeliverable = Undeliverable(
            connect(broker_url, settings.concurrency + 1),
            self._redis,
            settings,
            options.terms.result_ttl_ms // 1000,
        )
        self._name = options.name
        self._background = BackgroundServices()
        self._reports = ServiceReports(options.redis_url, options.name, self._background)
        self._log = structlog.get_logger()
        self._app = self._make_app(settings)
        show_nothing_yet("celery")

    def run(self) -> int:
        """Works until SIGTERM or SIGINT; returns the exit status."""
        self._wait_for(self._redis)
        self._wait_for(self._broker)
        background = self._background
        background.every_in_thread(self._renew_every_s, "claim keeper", self._claims.renew)
        self._breakers.keep_probes(background)
        background.every_in_thread(0, "cancel watch", self._watch.look)
        self._reports.open()
        signals.setup_logging.connect(_keep_own_log)
        signals.worker_ready.connect(self._on_ready)
        signals.worker_shutting_down.connect(self._on_shutting_down)
        worker = self._app.Worker(
            # Of two workers with one name Celery would see one.
            hostname=f"{self._name}@{socket.gethostname()}",
            loglevel="WARNING",
            quiet=True,
            without_gossip=True,
            without_heartbeat=not self._app.conf.worker_send_task_events,
            without_mingle=True,
        )
        worker.start()
        self._give_back()
        return int(worker.exitcode or 0)

    def _make_app(self, settings: CelerySettings) -> Celery:
        app = make_app(self._broker_url, settings)
        send_together(app)
        app.conf.broker_transport_options |= {"accept": Acceptance(self._undeliverable.accept)}

        def carry(delivered: Any, *arguments: Any) -> None:
            tag = delivered.request.properties["delivery_tag"]
            executor = Counted(self._executor, self._undeliverable, tag, settings.max_attempts)
            run = traced(received(arguments), _headers_of(delivered))
            try:
                with self._liveness.carrying():
                    if run_one(run, self._claims, executor) is ClaimState.CLAIMED:
                        self._undeliverable.forget(run.run_id)
            except ServiceUnavailable as error:
                self._log.warning("not reported; the run will be sent again", reason=str(error))

        app.task(name=RUN_NAME, bind=True)(carry)
        return app

    def _wait_for(self, client: Any) -> None:
        never = threading.Event()
        wait_until_there(
            client, never.wait, lambda error: self._log.warning("waiting for Redis", reason=str(error))
        )

    def _on_ready(self, **_: Any) -> None:
        self._background.every_in_thread(_LIVENESS_EVERY_S, "liveness", self._liveness.look)
        announce_ready()

    def _on_shutting_down(self, **_: Any) -> None:
        # Celery waits for its threads without end; after this time their runs are given back instead.
        timer = threading.Timer(STOP_WITHIN_S, self._give_up_waiting)
        timer.daemon = True
        timer.start()

    def _give_up_waiting(self) -> None:
        self._end_now(0)

    def _end_stuck(self) -> None:
        self._end_now(1)

    def _end_now(self, status: int) -> None:
        self._give_back()
        sys.stdout.flush()
        os._exit(status)

    def _give_back(self) -> None:
        self._background.stop_threads(within_s=0)
        try:
            given_back = self._claims.release()
        except ServiceUnavailable as error:
            self._log.warning("runs not given back; their claims will run out", reason=str(error))
        else:
            self._reports.close()
            self._log.info("stopped", given_back=given_back)


def main() -> int:
    """Runs the worker that the environment describes; returns the exit status."""
    try:
        options, settings = options_from_environment(), load(CelerySettings)
        broker_url = load(Settings).celery_redis_url
        if broker_url is None:
            raise SettingsError("CRUCIBLE_CELERY_REDIS_URL is not set; the Celery worker needs its broker")
        start_log(options.name)
        with metrics_served(), tracing(options.name, api_of_process()):
            return CeleryWorker(options, settings, broker_url).run()
    except CrucibleError as error:
        sys.stderr.write(f"celery worker: {error}\n")
        return 2


def _headers_of(delivered: Any) -> dict[str, object]:
    return {name: delivered.request.get(name) for name in (TRACEPARENT, ENQUEUED_AT)}


def _keep_own_log(**_: Any) -> None:
    """Connected to Celery's set-up of logging, so that it leaves ours alone."""


if __name__ == "__main__":
    sys.exit(main())
