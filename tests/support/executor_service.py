"""The real executor service, as a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.valkey import free_port

TOKEN = "token-of-the-tests"
_STARTS_WITHIN_S = 60
_ROOT = Path(__file__).resolve().parents[2]


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
            timeout=60,
            limits=httpx.Limits(max_connections=100),
        )

    def wait_until_ready(self) -> None:
        """Returns once it takes requests."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "CRUCIBLE_READY\n":
                return
        raise AssertionError(f"the service ended with exit code {self.process.wait()}")

    def execute(self, run_id: str, code: str, language: str = "bash", **more: Any) -> httpx.Response:
        """Ask for one run."""
        return self.http.post("/execute", json={"id": run_id, "language": language, "code": code} | more)

    def descendants(self) -> list[psutil.Process]:
        """All processes below it: slots, cells and programs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(_STARTS_WITHIN_S)


def spawn(environment: dict[str, str]) -> "subprocess.Popen[str]":
    """``python -m executors.service`` with its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "executors.service"],
        env=environment,
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def executor_service(**settings: str) -> Iterator[ExecutorService]:
    """A service that is ready; killed at the end if it is still there."""
    service = ExecutorService(**settings)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.http.close()
        service.process.kill()
        service.process.communicate()
