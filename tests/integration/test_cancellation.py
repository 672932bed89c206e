"""Cancelled on a whole stack: every program dead, nothing queued, every state says so, whoever was down."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
import redis

from deployments.stack import StackState
from tests.support.api_process import ApiProcess, environment_of
from tests.support.command_line import CommandLine, Running
from tests.support.corpora import ledger, line, newest_sweep, write_corpus
from tests.support.programs import processes_with
from tests.support.queues import taken_on_celery, taken_on_legacy, waiting_on_celery, waiting_on_legacy
from tests.support.stacks import client_of

pytestmark = pytest.mark.stack

NUMBER = int(os.environ.get("CRUCIBLE_TEST_SLEEPERS", "30"))
"""How many programs sleep: more than run at once, so that most of them wait."""

_PATIENCE_S = 120
_SLEEP_S = 4 * _PATIENCE_S
"""So that a program nobody ends is still there when patience is at its end: with programs to begin, with flow
runs to come, and with all being cancelled one by one."""


@pytest.fixture
def client(stack: StackState) -> Iterator[httpx.Client]:
    """A client of the stack's own API, with its key."""
    with client_of(stack, _PATIENCE_S) as made:
        yield made


@pytest.fixture
def marker() -> str:
    """What makes the programs of one test known on the host."""
    return f"sleeper-{uuid4().hex}"


@pytest.fixture(params=["up", "stopped", "killed"])
def celery_worker(request: pytest.FixtureRequest, crucible: CommandLine) -> Iterator[Callable[[], None]]:
    """Does to the Celery worker what the parameter says, when called. It is up again at the end."""
    worker = psutil.Process(crucible.pid_of("celery-worker"))
    number = {"stopped": signal.SIGSTOP, "killed": signal.SIGKILL}.get(request.param)
    yield lambda: None if number is None else worker.send_signal(number)
    if request.param == "stopped":
        worker.send_signal(signal.SIGCONT)


def sleepers(marker: str, number: int = NUMBER) -> list[dict[str, Any]]:
    """Evaluations whose programs sleep for minutes with ``marker`` on their command line."""
    words = f"[sys.executable, '-c', 'import time; time.sleep({_SLEEP_S})', {marker!r}]"
    code = f"import os, sys\nos.execv(sys.executable, {words})"
    limits = {"wall_s": _SLEEP_S + _PATIENCE_S}
    return [line(f"sleeps/{each}", code, limits=limits) for each in range(number)]


def eventually(condition: Callable[[], Any]) -> Any:
    """What ``condition`` gives, once it gives something."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return found


def wait_until_programs_run(marker: str, number: int = 4) -> None:
    """Those of both legs; there is room for more, on machines that are not busy."""
    eventually(lambda: len(processes_with(marker)) >= number)


def flow_run_of(client: httpx.Client, evaluation_id: str) -> str:
    """Its id; the legs are asked before there is one."""
    (found,) = eventually(lambda: client.get(f"/evaluations/{evaluation_id}").json()["flow_run_ids"])
    return str(found)


def assert_nothing_is_left(stack: StackState, marker: str, asked_at: float | None = None) -> None:
    """No program, and nothing in the queues of either leg. With ``-rP`` pytest shows how long that took."""
    eventually(lambda: not processes_with(marker))
    if asked_at is not None:
        print(f"every program was dead {time.monotonic() - asked_at:.2f} s after it was asked for")
    with (
        redis.Redis.from_url(stack.redis_url) as ours,
        redis.Redis.from_url(stack.celery_redis_url) as theirs,
    ):
        eventually(lambda: waiting_on_legacy(ours) == waiting_on_celery(theirs) == 0)
        if asked_at is not None:
            print(f"nothing waited in a queue {time.monotonic() - asked_at:.2f} s after")
        eventually(lambda: taken_on_legacy(ours) == taken_on_celery(theirs) == 0)
    # Once more: a program that had been claimed by then may have begun, and is ended within a moment.
    eventually(lambda: not processes_with(marker))


def states_of(stack: StackState, wanted: dict[str, Any]) -> set[str]:
    """The states of the flow runs that fit, in Prefect."""
    found = ask_prefect(stack, "filter", {"flow_runs": wanted})
    return {each["state_type"] for each in found}


def cancel_in_prefect(stack: StackState, flow_run_id: str) -> None:
    """As its UI does."""
    wish = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    ask_prefect(stack, f"{flow_run_id}/set_state", wish)


def ask_prefect(stack: StackState, what: str, body: dict[str, Any]) -> Any:
    """What Prefect answers about flow runs; beside much else its server may take seconds for it."""
    answer = httpx.post(f"{stack.prefect_api_url}/flow_runs/{what}", json=body, timeout=_PATIENCE_S)
    return answer.raise_for_status().json()


def assert_cancelled_in_prefect(stack: StackState, **wanted: Any) -> None:
    eventually(lambda: states_of(stack, wanted) == {"CANCELLED"})


def sweeping(crucible: CommandLine, corpus: Path, marker: str) -> tuple[Running, str]:
    """A sweep of sleepers that is under way, and its id."""
    running = crucible.start("sweep", write_corpus(corpus, sleepers(marker)), "--json")
    wait_until_programs_run(marker)
    return running, newest_sweep(crucible.home)


def test_evaluations_cancelled_one_by_one(
    stack: StackState, client: httpx.Client, marker: str, celery_worker: Callable[[], None]
) -> None:
    posted = client.post("/evaluations", json=sleepers(marker)).json()
    wait_until_programs_run(marker)
    flow_runs = {flow_run_of(client, each["id"]) for each in posted}
    celery_worker()
    for each in posted:
        asked_at = time.monotonic()
        answer = client.delete(f"/evaluations/{each['id']}")
        assert (answer.status_code, answer.json()["classification"]) == (200, "cancelled")
    assert_nothing_is_left(stack, marker, asked_at)
    again = client.delete(f"/evaluations/{posted[0]['id']}")
    assert (again.status_code, again.json()["classification"]) == (200, "cancelled")
    assert_cancelled_in_prefect(stack, id={"any_": sorted(flow_runs)})


def test_a_sweep_that_is_interrupted(
    crucible: CommandLine, stack: StackState, marker: str, tmp_path: Path, celery_worker: Callable[[], None]
) -> None:
    running, sweep_id = sweeping(crucible, tmp_path / "corpus.jsonl", marker)
    celery_worker()
    running.send(signal.SIGINT)
    assert_nothing_is_left(stack, marker, time.monotonic())
    ended = running.ended()
    assert (ended.code, ended.stdout) == (130, ""), ended.stderr
    assert "Traceback" not in ended.stderr
    assert ledger(crucible.home) == {"cancelled": NUMBER}
    assert_cancelled_in_prefect(stack, name={"like_": sweep_id})


def test_a_sweep_that_is_cancelled_by_another_command(
    crucible: CommandLine, stack: StackState, marker: str, tmp_path: Path, celery_worker: Callable[[], None]
) -> None:
    running, sweep_id = sweeping(crucible, tmp_path / "corpus.jsonl", marker)
    celery_worker()
    asked_at = time.monotonic()
    cancelled = crucible.run("cancel", sweep_id, "--json")
    assert cancelled.code == 0, cancelled.stderr
    (told,) = cancelled.document["settled"]
    assert told["counts"]["cancelled"] == NUMBER
    assert_nothing_is_left(stack, marker, asked_at)
    ended = running.ended()
    assert (ended.code, ended.stdout) == (130, ""), ended.stderr
    assert "Traceback" not in ended.stderr
    assert ledger(crucible.home) == {"cancelled": NUMBER}
    assert_cancelled_in_prefect(stack, name={"like_": sweep_id})


def test_one_of_a_batch_leaves_the_others_alone(client: httpx.Client, marker: str) -> None:
    quick = line("quick", "import time; time.sleep(1); print(1)")
    posted = client.post("/evaluations", json=[*sleepers(marker, 1), quick, quick | {"id": "other"}]).json()
    wait_until_programs_run(marker, 2)
    assert client.delete(f"/evaluations/{posted[0]['id']}").json()["classification"] == "cancelled"
    eventually(lambda: not processes_with(marker))
    for each in posted[1:]:
        eventually(
            lambda path=f"/evaluations/{each['id']}": client.get(path).json()["classification"] == "match"
        )


def test_cancel_in_prefect_stops_an_evaluation_that_runs_in_our_process(
    stack: StackState, client: httpx.Client, marker: str
) -> None:
    (posted,) = client.post("/evaluations", json=sleepers(marker, 1)).json()
    wait_until_programs_run(marker, 2)
    flow_run_id = flow_run_of(client, posted["id"])
    cancel_in_prefect(stack, flow_run_id)
    assert_nothing_is_left(stack, marker)
    assert_cancelled_in_prefect(stack, id={"any_": [flow_run_id]})
    assert client.get(f"/evaluations/{posted['id']}").json()["classification"] == "cancelled"


def test_cancel_in_prefect_stops_a_sweep(
    crucible: CommandLine, stack: StackState, marker: str, tmp_path: Path
) -> None:
    running, sweep_id = sweeping(crucible, tmp_path / "corpus.jsonl", marker)
    query = {"flow_runs": {"name": {"like_": sweep_id}, "parent_task_run_id": {"is_null_": True}}}
    (flow_run,) = ask_prefect(stack, "filter", query)
    cancel_in_prefect(stack, flow_run["id"])
    assert_nothing_is_left(stack, marker)
    assert running.ended().code == 130
    assert ledger(crucible.home) == {"cancelled": NUMBER}
    assert_cancelled_in_prefect(stack, name={"like_": sweep_id})


def test_what_is_open_when_the_time_is_up_is_cancelled(
    stack: StackState, marker: str, tmp_path: Path
) -> None:
    api = ApiProcess(environment_of(stack, tmp_path) | {"CRUCIBLE_FLOW_DEADLINE_S": "20"})
    try:
        api.wait_until_ready()
        quick = line("quick", "print(1)")
        answered = api.client.post(
            "/evaluations", params={"wait": 60}, json=[*sleepers(marker, 1), quick]
        ).json()
        assert [each["classification"] for each in answered] == ["cancelled", "match"]
        assert_nothing_is_left(stack, marker)
    finally:
        api.close()


def test_an_id_that_is_none_is_said_and_the_others_are_cancelled(
    crucible: CommandLine, client: httpx.Client, marker: str
) -> None:
    (posted,) = client.post("/evaluations", json=sleepers(marker, 1)).json()
    unknown = f"ev-{'0' * 26}"
    done = crucible.run("cancel", unknown, posted["id"], "nonsense/../id", f"sw-{'0' * 26}")
    assert done.code == 2
    assert f"no {unknown}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == f"{posted['id']}: cancelled\n"
    assert client.delete(f"/evaluations/{unknown}").status_code == 404
    eventually(lambda: not processes_with(marker))
