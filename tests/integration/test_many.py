"""More of every kind by nothing but numbers: two worker sets, APIs behind the gateway and flow services."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deployments.stack import StackState
from tests.support.command_line import CommandLine
from tests.support.stacks import bearer, stack_up
from tests.support.waiting import patiently

pytestmark = pytest.mark.stack

WITHIN_S = 240.0
MANY = 60
NUMBERS = {"WORKER_SETS": "2", "API_PROCESSES": "2", "FLOW_PROCESSES": "2"}
WAITS = {"language": "python", "code": "import time; time.sleep(0.3); print('waited')"}
SLEEPS = {"language": "python", "code": "import time; time.sleep(60)"}
OF_BOTH_SETS = {
    "legacy": {"executor-1", "executor-2", "executor-1-set-2", "executor-2-set-2"},
    "celery": {"executor-3", "executor-3-set-2"},
}

ClientOf = Callable[[str], httpx.Client]
"""A client of the service of that name."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A stack with two of everything that there can be more of."""
    with stack_up(tmp_path_factory.mktemp("many") / "home", **NUMBERS) as command_line:
        yield command_line


@pytest.fixture(scope="module")
def stack(home: CommandLine) -> StackState:
    """Its state."""
    return home.state()


@pytest.fixture(scope="module")
def client_of(stack: StackState) -> Iterator[ClientOf]:
    """Clients, with the stack's own key."""
    urls = {each.name: each.url for each in stack.services} | {"gateway": f"{stack.gateway_url}/api"}
    clients: dict[str, httpx.Client] = {}

    def client(name: str) -> httpx.Client:
        if name not in clients:
            clients[name] = httpx.Client(base_url=urls[name] or "", headers=bearer(stack), timeout=WITHIN_S)
        return clients[name]

    yield client
    for each in clients.values():
        each.close()


def settled(client: httpx.Client, evaluation_id: str) -> dict[str, Any]:
    """An evaluation, once it has its column."""

    def state() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/evaluations/{evaluation_id}").raise_for_status().json()
        return found

    patiently(lambda: state()["status"] == "settled")
    return state()


def test_all_worker_sets_run_evaluations_and_every_api_tells_the_same_of_them(client_of: ClientOf) -> None:
    done = client_of("gateway").post("/evaluations?wait=120", json=[WAITS] * MANY).raise_for_status().json()
    assert [each["classification"] for each in done] == ["match"] * MANY
    for leg, executors in OF_BOTH_SETS.items():
        assert {each["comparison"][leg]["executor"] for each in done} == executors
    asked = f"/evaluations/{done[0]['id']}"
    assert client_of("api").get(asked).json() == client_of("api-2").get(asked).json() == done[0]


def test_the_gateway_spreads_requests_over_the_apis(client_of: ClientOf) -> None:
    before = [requests_of(client_of(name)) for name in ("api", "api-2")]
    for _ in range(20):
        client_of("gateway").get("/sweeps").raise_for_status()
    after = [requests_of(client_of(name)) for name in ("api", "api-2")]
    assert sorted(now - then for now, then in zip(after, before, strict=True)) == [10, 10]


def requests_of(api: httpx.Client) -> int:
    """How many lists of sweeps a process has given, by its metrics."""
    lines = api.get("/metrics").raise_for_status().text.splitlines()
    counts = [line for line in lines if "request_duration_seconds_count" in line and '"/sweeps"' in line]
    return int(sum(float(line.rpartition(" ")[2]) for line in counts))


def test_what_one_api_took_another_cancels(client_of: ClientOf) -> None:
    taken = client_of("api").post("/evaluations", json=SLEEPS).raise_for_status().json()
    client_of("api-2").delete(f"/evaluations/{taken['id']}").raise_for_status()
    assert settled(client_of("api"), taken["id"])["classification"] == "cancelled"


def test_what_an_api_had_in_hand_when_it_was_killed_the_other_goes_on_with(
    home: CommandLine, client_of: ClientOf
) -> None:
    taken = client_of("api-2").post("/evaluations", json=[WAITS] * 8).raise_for_status().json()
    os.kill(home.pid_of("api-2"), signal.SIGKILL)
    found = [settled(client_of("api"), each["id"])["classification"] for each in taken]
    assert found == ["match"] * 8


def test_a_sweep_is_run_by_one_of_the_flow_services(client_of: ClientOf) -> None:
    started = client_of("gateway").post("/sweeps", json={"limit": 10}).raise_for_status().json()

    def verdict() -> str | None:
        found: str | None = client_of("gateway").get(f"/sweeps/{started['id']}").json()["verdict"]
        return found

    patiently(lambda: verdict() is not None)
    assert verdict() == "inconclusive", "ten are too few"
