"""The API of a whole stack: real queues, real sandboxes, a real Prefect server."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from crucible.models.evaluation import MAX_PROGRAM_BYTES
from deployments.stack import StackState
from tests.support.api_process import ApiProcess, environment_of
from tests.support.stacks import client_of
from tests.support.valkey import free_port

pytestmark = pytest.mark.stack

Start = Callable[..., ApiProcess]

_PATIENCE_S = 240
_STEPS = {"legacy leg", "celery leg", "compare"}


@pytest.fixture
def client(stack: StackState) -> Iterator[httpx.Client]:
    """A client of the stack's own API, with its key."""
    with client_of(stack, 2 * _PATIENCE_S) as made:
        yield made


@pytest.fixture
def start(stack: StackState, tmp_path: Path) -> Iterator[Start]:
    """Starts API processes beside the stack's own; what is given is set differently."""
    started: list[ApiProcess] = []

    def start_one(**differently: str) -> ApiProcess:
        started.append(ApiProcess(environment_of(stack, tmp_path) | differently))
        return started[-1]

    yield start_one
    for each in started:
        each.close()


def program(code: str, **more: object) -> dict[str, object]:
    return {"id": "posted", "language": "python", "code": code} | more


def eventually(found: Callable[[], Any]) -> Any:
    """What ``found`` gives, once it gives something."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)
    return result


def settled(client: httpx.Client, path: str) -> dict[str, Any]:
    """The evaluation at ``path`` once the ledger has it settled."""

    def ask() -> dict[str, Any] | None:
        state: dict[str, Any] = client.get(path).json()
        return state if state["status"] == "settled" else None

    found: dict[str, Any] = eventually(ask)
    return found


def test_a_posted_program_comes_back_compared_and_its_steps_are_in_prefect(
    client: httpx.Client, stack: StackState
) -> None:
    response = client.post("/evaluations", params={"wait": 60}, json=program("print(6 * 7)"))
    assert response.status_code == 200, response.text
    state = response.json()
    assert state["classification"] == "match"
    assert {side: state["comparison"][side]["stdout_b64"] for side in ("legacy", "celery")} == {
        "legacy": "NDIK",
        "celery": "NDIK",
    }
    (flow_run_id,) = state["flow_run_ids"]

    def completed_steps() -> bool:
        query = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
        steps = of_prefect(stack, "task_runs", query)
        names = {each["name"].rpartition("-")[0] for each in steps if each["state_type"] == "COMPLETED"}
        return names == _STEPS and len(steps) == len(_STEPS)

    eventually(completed_steps)
    [flow_run] = of_prefect(stack, "flow_runs", {"flow_runs": {"id": {"any_": [flow_run_id]}}})
    assert flow_run["name"] == "posted"
    page = httpx.get(
        state["links"]["flow_run"],
        headers={"Accept": "text/html"},
        follow_redirects=True,
        timeout=_PATIENCE_S,
    )
    assert page.headers["content-type"].startswith("text/html")


def test_whoever_does_not_wait_finds_the_comparison_later(client: httpx.Client) -> None:
    response = client.post("/evaluations", json=program("raise SystemExit(3)"))
    assert response.status_code == 202
    state = settled(client, response.headers["location"])
    assert (state["classification"], state["comparison"]["celery"]["exit_code"]) == ("match", 3)


def test_a_mismatch_is_run_again_before_whoever_waits_is_answered(client: httpx.Client) -> None:
    body = program("import uuid; print(uuid.uuid4())", id="always {0} different")
    state = client.post("/evaluations", params={"wait": 60}, json=body).json()
    assert state["classification"] == "mismatch"
    assert [each["field"] for each in state["comparison"]["differences"]] == ["stdout"]
    assert (state["comparison"]["reruns"], len(state["flow_run_ids"])) == (3, 4)
    assert settled(client, state["links"]["self"]) == state


def test_noise_that_its_author_declares_is_no_mismatch(client: httpx.Client) -> None:
    body = program("import uuid; print(uuid.uuid4())", expect={"deterministic": False})
    state = client.post("/evaluations", params={"wait": 60}, json=body).json()
    assert state["classification"] == "nondeterministic"


def test_many_at_once_share_flow_runs_and_each_gets_its_own_answer(client: httpx.Client) -> None:
    def post(number: int) -> tuple[str, str]:
        body = program(f"print({number}, end='')", id=str(number))
        state = client.post("/evaluations", params={"wait": 120}, json=body).json()
        (flow_run_id,) = state["flow_run_ids"]
        return state["comparison"]["legacy"]["stdout_b64"], flow_run_id

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(post, range(100, 130)))
    assert len({stdout for stdout, _ in answers}) == 30
    assert len({flow_run_id for _, flow_run_id in answers}) < 15


def test_a_large_program_is_taken_and_a_huge_one_refused(client: httpx.Client) -> None:
    large = client.post("/evaluations", params={"wait": 60}, json=program("#" * 5_000_000 + "\nprint(1)"))
    assert large.json()["classification"] == "match"
    too_large = client.post("/evaluations", json=program("#" * (MAX_PROGRAM_BYTES + 1)))
    assert (too_large.status_code, too_large.json()["key"]) == (422, "code")
    huge = client.post("/evaluations", json=program("#" * 5 * MAX_PROGRAM_BYTES))
    assert (huge.status_code, huge.headers["content-type"]) == (413, "application/problem+json")


def test_the_api_of_a_stack_that_is_up_is_ready(client: httpx.Client, stack: StackState) -> None:
    # It gives each part two seconds, which on a busy machine one of them may need for once.
    eventually(lambda: client.get("/ready").json()["status"] == "ok")
    assert httpx.get(f"{stack.api_url}/ready", timeout=_PATIENCE_S).status_code == 401


def test_an_api_that_must_end_lets_nobody_wait_and_flow_runs_finish(
    start: Start, stack: StackState, client: httpx.Client
) -> None:
    own = start()
    own.wait_until_ready()
    short = own.client.post("/evaluations", json=program("import time; time.sleep(1)", id="short"))
    with ThreadPoolExecutor(1) as pool:
        # Longer than Prefect may take to show its flow run as running, which begins after the program.
        body = program("import time; time.sleep(60)", id="long", limits={"wall_s": 120})
        waiting = pool.submit(own.client.post, "/evaluations", params={"wait": 60}, json=body)
        eventually(lambda: has_flow_run(stack, "long"))
        own.terminate()
        long = waiting.result()
    assert (long.status_code, long.json()["status"]) == (202, "submitted")
    assert own.ended()[0] == 0
    assert client.get(short.headers["location"]).json()["classification"] == "match"
    client.delete(long.headers["location"]).raise_for_status()


def test_without_prefect_it_is_not_ready_and_nobody_hangs(start: Start) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    own = start(CRUCIBLE_PREFECT_API_URL=nowhere, PREFECT_API_URL=nowhere)
    own.wait_until_ready()

    def answer() -> tuple[int, set[str]]:
        found = own.client.get("/ready")
        return found.status_code, set(found.json()["missing"])

    eventually(lambda: answer() == (503, {"prefect"}))
    response = own.client.post("/evaluations", params={"wait": 1}, json=program("print(1)"))
    assert response.status_code == 202
    assert own.client.get(response.headers["location"]).json()["status"] == "submitted"
    own.terminate()
    code, output = own.ended()
    assert code == 0
    assert "tried again" in output


def test_a_missing_setting_ends_it_with_one_line_that_names_it(start: Start) -> None:
    code, output = start(CRUCIBLE_API_KEY="").ended()
    assert (code, output.count("\n")) == (2, 1), output
    assert output.startswith("CRUCIBLE_API_KEY is not set")


def test_a_port_in_use_ends_it_with_one_line(start: Start, stack: StackState) -> None:
    port = stack.api_url.rpartition(":")[2]
    code, output = start(CRUCIBLE_API_PORT=port).ended()
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith(f"CRUCIBLE_API_PORT={port}: Address already in use")


def has_flow_run(stack: StackState, name: str) -> bool:
    query = {"flow_runs": {"name": {"any_": [name]}, "state": {"type": {"any_": ["RUNNING"]}}}}
    return bool(of_prefect(stack, "flow_runs", query))


def of_prefect(stack: StackState, kind: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """What Prefect finds of that kind; beside much else its server may take seconds to answer."""
    answer = httpx.post(f"{stack.prefect_api_url}/{kind}/filter", json=query, timeout=_PATIENCE_S)
    found: list[dict[str, Any]] = answer.raise_for_status().json()
    return found
