"""The real executor service, as a process of its own."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from executors.sandbox.process.jail import cgroup
from tests.support.forked import ForkedModule
from tests.support.programs import processes_with
from tests.support.valkey import free_port
from tests.support.waiting import eventually

TOKEN = "token-of-the-tests"
_ENDS_WITHIN_S = 180
"""Long enough to try all languages first: a service that is stopped while it starts goes on to its end."""
_ANSWERS_WITHIN_S = 240
"""Callers wait for as long as other services take to start, and for a thousand cases on a busy machine."""


class ExecutorService:
    """One service on a free port of loopback; ``settings`` are those of ``CRUCIBLE_EXECUTOR_*``."""

    def __init__(self, **settings: str) -> None:
        self.port = free_port()
        values = {"port": str(self.port), "token": TOKEN, "name": "under-test"} | settings
        self.environment = os.environ | {f"CRUCIBLE_EXECUTOR_{k.upper()}": v for k, v in values.items()}
        self.process = spawn(self.environment)
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=_ANSWERS_WITHIN_S,
            limits=httpx.Limits(max_connections=100),
        )

    def wait_until_ready(self) -> None:
        """Returns once it takes requests."""
        for line in self.process.stdout:
            if line == "CRUCIBLE_READY\n":
                return
        raise AssertionError(f"the service ended with exit code {self.process.wait()}")

    def execute(self, run_id: str, code: str, language: str = "bash", **more: Any) -> httpx.Response:
        """Ask for one run."""
        return self.http.post("/execute", json={"id": run_id, "language": language, "code": code} | more)

    def sleep(self, marker: str) -> httpx.Response:
        """A run that lasts until it is ended; its process is known by ``marker``."""
        return self.execute(marker, f"echo on; {sleeper(marker)}", limits={"wall_s": 300})

    def batch(self, run_id: str, stdins: list[str], **more: Any) -> httpx.Response:
        """Ask for one run per script in ``stdins``, all by one program."""
        return self.http.post("/execute", json=batch_of(run_id, stdins, **more))

    def stream(self, body: dict[str, Any]) -> contextlib.AbstractContextManager[httpx.Response]:
        """Ask for a batch whose lines come as they are there."""
        headers = {"Accept": "application/x-ndjson"}
        return self.http.stream("POST", "/execute", json=body, headers=headers)

    def health(self) -> dict[str, Any]:
        """What it says of itself."""
        found: dict[str, Any] = self.http.get("/health").json()
        return found

    def descendants(self) -> list[psutil.Process]:
        """All processes below it: slots, cells and programs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(_ENDS_WITHIN_S)


def spawn(environment: dict[str, str]) -> ForkedModule:
    """``python -m executors.service`` with its output in pipes."""
    return ForkedModule("executors.service", environment, apart=True)


@contextlib.contextmanager
def executor_service(**settings: str) -> Iterator[ExecutorService]:
    """A service that is ready; killed at the end if it is still there."""
    service = ExecutorService(**settings)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.http.close()
        service.process.close()


def batch_of(run_id: str, stdins: list[str], **more: Any) -> dict[str, Any]:
    """The order of a bash program that runs what it reads."""
    cases = [{"stdin": stdin} for stdin in stdins]
    order = {"id": run_id, "language": "bash", "code": "source /dev/stdin", "cases": cases}
    return order | {"limits": {"wall_s": 300}} | more


def sleeper(marker: str) -> str:
    """A command that lasts longer than any test; its process is known by ``marker``."""
    return f"exec -a {marker} sleep 300"


def seen_at_work(marker: str) -> None:
    """Returns once a program known by ``marker`` is there."""
    asyncio.run(eventually(lambda: bool(processes_with(marker))))


def seen_gone(marker: str) -> None:
    """Returns once no program known by ``marker`` is there."""
    asyncio.run(eventually(lambda: not processes_with(marker)))


def kill_slot_of(marker: str) -> None:
    """Take the slot away in which the program known by ``marker`` runs."""
    processes_with(marker)[0].parents()[1].kill()


def groups_of(pid: int) -> list[str]:
    """The control groups that the service with this process id has made."""
    return [group.name for folder in cgroup.parents() for group in Path(folder).glob(f"{pid}-*")]
