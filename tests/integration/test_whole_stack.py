"""The complete local stack by its commands, the way users and scripts run it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.stack import StackState, read_state

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 240.0

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """Runs commands with a home of their own; what is up at the end is taken down."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from cli.main import main; main()", *arguments],
            cwd=ROOT,
            env={**os.environ, "CRUCIBLE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    yield run
    run("down")


@pytest.fixture
def state(command: Command, tmp_path: Path) -> StackState:
    """A stack that is up."""
    done = command("up", "--detach")
    assert done.returncode == 0, done.stderr
    found = read_state(tmp_path)
    assert found is not None
    assert found.api_url in done.stdout
    return found


def test_up_status_and_down_keep_their_contract(command: Command, state: StackState) -> None:
    status = json.loads(command("status", "--json").stdout)
    assert status["running"] is True
    assert (status["api_url"], status["prefect_url"]) == (state.api_url, state.prefect_url)
    assert status["gateway_url"] == state.gateway_url
    assert status["flower_url"] == f"{state.gateway_url}/flower"
    assert {service["state"] for service in status["services"]} == {"ready"}
    assert all(set(service) == {"name", "state", "pid", "url"} for service in status["services"])

    again = command("up")
    assert again.returncode == 0
    assert "up already" in again.stdout
    assert state.api_url in again.stdout

    family = descendants(state)
    assert command("down").returncode == 0
    assert psutil.wait_procs(family, timeout=PATIENCE_S)[1] == []
    assert json.loads(command("status", "--json").stdout) == {
        "running": False,
        "gateway_url": None,
        "api_url": None,
        "prefect_url": None,
        "flower_url": None,
        "services": [],
        "readiness": None,
    }
    assert command("down").returncode == 0


def test_every_server_answers_where_the_state_says(stack: StackState) -> None:
    healths = [f"{url}/health" for url in (*stack.executor_urls, stack.api_url, stack.prefect_api_url)]
    assert {httpx.get(url, timeout=60, trust_env=False).status_code for url in healths} == {200}


def descendants(state: StackState) -> list[psutil.Process]:
    stack = psutil.Process(state.pid)
    return [stack, *stack.children(recursive=True)]
