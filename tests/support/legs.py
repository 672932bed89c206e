"""One leg for tests: its client, its workers as real processes, and a stand-in for the flow."""

import asyncio
import os
import time
from collections.abc import Iterable
from contextlib import suppress

from crucible.errors import ServiceUnavailable
from crucible.models import Evaluation, Leg
from crucible.settings import CelerySettings, LegacySettings
from tasks.celery_leg.client import CeleryClient
from tasks.dispatch import Dispatch, LegClient
from tasks.legacy_leg.client import LegacyClient
from tasks.replies import Reply, ReplyReader
from tasks.worker_process import READY_LINE
from tests.support.forked import ForkedModule
from tests.support.stub_executor import TOKEN, StubExecutor
from tests.support.valkey import Valkey

STREAM = "crucible:replies:test"
LEASE_S = 1.5
CONCURRENCY = 2


class Worker:
    """A worker process that has said that it takes work."""

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self.process = ForkedModule(module, os.environ | environment)
        self.output: list[str] = []

    def wait_until_ready(self) -> None:
        """Reads the output up to the line that says so."""
        self.wait_for_line(READY_LINE)

    def wait_for_line(self, part: str) -> None:
        """Reads the output up to the first line with ``part`` in it."""
        for line in self.process.stdout:
            self.output.append(line)
            if part in line:
                return
        raise AssertionError(f"worker ended before it said {part!r}: {''.join(self.output)}")

    def kill(self) -> None:
        """As ``kill -9`` does."""
        self.process.kill()
        self.process.wait()

    def rest_of_output(self) -> str:
        """What it printed after it was ready; it must have ended."""
        return self.process.stdout.read()


class LegHarness:
    """A leg with its servers; ``leg`` says which."""

    def __init__(self, leg: Leg, redis: Valkey, celery_redis: Valkey, executor: StubExecutor) -> None:
        self.leg, self.redis, self.celery_redis, self.executor = leg, redis, celery_redis, executor
        self.workers: list[Worker] = []

    def client(self) -> LegClient:
        """A new sending end."""
        if self.leg == "legacy":
            return LegacyClient(self.redis.url, LegacySettings())
        return CeleryClient(self.celery_redis.url, CelerySettings())

    def spawn(self, name: str = "worker-a", **extra: str) -> Worker:
        """Starts a worker and does not wait for it."""
        environment = {
            "CRUCIBLE_REDIS_URL": self.redis.url,
            "CRUCIBLE_CELERY_REDIS_URL": self.celery_redis.url,
            "CRUCIBLE_EXECUTOR_TOKEN": TOKEN,
            "CRUCIBLE_LEGACY_EXECUTOR_URLS": self.executor.url,
            "CRUCIBLE_CELERY_EXECUTOR_URL": self.executor.url,
            "CRUCIBLE_WORKER_NAME": name,
            "CRUCIBLE_WORKER_LEASE_S": str(LEASE_S),
            "CRUCIBLE_WORKER_RETRY_S": "0.3",
            "CRUCIBLE_LEGACY_CONCURRENCY": str(CONCURRENCY),
            "CRUCIBLE_CELERY_CONCURRENCY": str(CONCURRENCY),
            "CRUCIBLE_LEGACY_REAP_EVERY_S": "0.2",
        }
        worker = Worker(f"tasks.{self.leg}_leg.worker", environment | extra)
        self.workers.append(worker)
        return worker

    def start_worker(self, name: str = "worker-a", **extra: str) -> Worker:
        """Starts a worker and waits until it takes work."""
        worker = self.spawn(name, **extra)
        worker.wait_until_ready()
        return worker

    def close(self) -> None:
        """Ends what is left."""
        self.executor.let_go()
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
            if worker.process.stdout is not None:
                worker.process.stdout.close()


def dispatches(count: int, priority: int = 5, prefix: str = "run") -> list[Dispatch]:
    """``count`` runs whose programs are their ids."""
    return [dispatch(f"{prefix}-{number}.0", priority) for number in range(count)]


def dispatch(run_id: str, priority: int = 5) -> Dispatch:
    """One run whose program is its id."""
    program = Evaluation(id=run_id, language="python", code=run_id, priority=priority)
    return Dispatch(run_id, program, STREAM)


class Flow:
    """As much of a flow as the legs need: it sends, reads, and sends again what nobody has claimed."""

    def __init__(self, harness: LegHarness) -> None:
        self._harness = harness
        self._client = harness.client()
        self.reader = ReplyReader(harness.redis.url, STREAM)
        self.replies: list[Reply] = []

    async def send(self, runs: Iterable[Dispatch]) -> None:
        """Sends once."""
        await self._client.send(list(runs))

    async def read_until_all_reported(self, runs: list[Dispatch], *, resend_every_s: float = 1e9) -> None:
        """Reads until each of ``runs`` was reported, resending those without a claim now and then."""
        missing = {run.run_id for run in runs}
        resend_at = time.monotonic() + resend_every_s
        async with asyncio.timeout(60):
            reading = asyncio.create_task(self._read(missing))
            try:
                while missing:
                    await asyncio.wait([reading], timeout=0.05)
                    if reading.done():
                        reading.result()
                    if missing and time.monotonic() > resend_at:
                        alive = await self.reader.claims_alive(missing, self._harness.leg)
                        await self.send(run for run in runs if run.run_id in missing - alive)
                        resend_at = time.monotonic() + resend_every_s
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading

    async def _read(self, missing: set[str]) -> None:
        while True:
            batch: list[Reply] = []
            with suppress(ServiceUnavailable):
                batch = await self.reader.read()
            self.replies.extend(batch)
            missing.difference_update(reply.run_id for reply in batch)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.reader.aclose()
        await self._client.aclose()
