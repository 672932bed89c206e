"""What a sweep is for: an executor that differs is found, one that is away is no pass."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.command_line import ROOT, CommandLine
from tests.support.corpora import ledger, line, names_of, prints, write_corpus
from tests.support.valkey import free_port

pytestmark = pytest.mark.stack

_DEPENDENT = [
    line("hash/of-text", "print(hash('a'))"),
    line("hash/order-of-a-set", "print(*{'a', 'b', 'c', 'd', 'e', 'f'})"),
    line("memory/120-mib", "print(len(bytearray(120 << 20)))"),
    line("zone/bash", "date -d @0", language="bash"),
    line("zone/local-hour", "import time; print(time.localtime(0).tm_hour)"),
]
_INDEPENDENT = [
    line("hash/of-a-number", "print(hash(7))"),
    line("hash/sorted-set", "print(*sorted({'a', 'b', 'c'}))"),
    line("memory/8-mib", "print(len(bytearray(8 << 20)))"),
    line("zone/utc-hour", "import time; print(time.gmtime(0).tm_hour)"),
    line("plain/exit-code", "raise SystemExit(3)"),
]


def test_an_executor_that_differs_is_found_and_what_depends_on_it_is_named(
    drifted: CommandLine, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", [*_DEPENDENT, *_INDEPENDENT])
    swept = drifted.run("sweep", corpus, "--min-evaluations", "1")
    assert swept.code == 1, swept.stderr
    assert names_of(drifted.home, "mismatch") == [each["id"] for each in _DEPENDENT]
    assert names_of(drifted.home, "match") == sorted(each["id"] for each in _INDEPENDENT)
    for each in _DEPENDENT:
        assert f"✗ {each['id']}" in swept.stdout
    assert "memory_limit" in swept.stdout


class OwnExecutor:
    """An executor that no stack keeps up: whoever runs it may stop it."""

    def __init__(self) -> None:
        port = free_port()
        self.url, self.token = f"http://127.0.0.1:{port}", "token-of-the-tests"
        settings = {"NAME": "executor-3", "PORT": str(port), "TOKEN": self.token}
        self._environment = os.environ | {f"CRUCIBLE_EXECUTOR_{key}": text for key, text in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [sys.executable, "-m", "executors.service"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        assert b"CRUCIBLE_READY\n" in iter(self._process.stdout.readline, b"")
        assert httpx.get(f"{self.url}/health", timeout=60).json()["status"] == "ok"

    def stop(self) -> None:
        """Stops it, if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate(timeout=60)
            self._process = None


@pytest.fixture
def executor() -> Iterator[OwnExecutor]:
    own = OwnExecutor()
    own.start()
    yield own
    own.stop()


def test_with_an_executor_stopped_evaluations_are_unpaired_and_once_it_is_back_they_pass(
    tmp_path: Path, executor: OwnExecutor
) -> None:
    settings = {"EXECUTOR_3_URL": executor.url, "EXECUTOR_TOKEN": executor.token, "WORKER_RETRY_S": "0.2"}
    soon = {"FLOW_MAX_FAULTS": "2", "BREAKER_PARK_S": "3"}
    soon |= {"BREAKER_OPEN_S": "0.5", "BREAKER_LONGEST_OPEN_S": "1"}
    crucible = CommandLine(tmp_path / "home", **settings, **soon)
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(12))
    words = ("sweep", corpus, "--min-evaluations", "12")
    try:
        assert crucible.run("up", "--detach").code == 0
        executor.stop()
        failed = crucible.run(*words)
        assert failed.code == 1, failed.stderr
        assert "FAIL" in failed.stdout
        # The first calls fail; from then on its breaker says so.
        causes = (f"celery: {executor.url}/execute", "celery: executor-3 unavailable: breaker open")
        assert any(each in " ".join(failed.stdout.split()) for each in causes), failed.stdout
        assert ledger(crucible.home) == {"unpaired": 12}
        executor.start()
        assert crucible.run(*words).code == 0
        assert ledger(crucible.home) == {"match": 12}
        # A stack whose process is killed leaves nothing behind, no more than one that is taken down.
        os.kill(crucible.state().pid, signal.SIGKILL)
        assert crucible.survivors() == []
    finally:
        crucible.close()
