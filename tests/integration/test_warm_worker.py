"""Flows that deployments start: at once, in a process that is warm, and to an end whatever happens to it."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest

from deployments.stack import ServiceStatus, StackState
from tests.support.command_line import CommandLine
from tests.support.stacks import bearer
from tests.support.waiting import patiently

pytestmark = pytest.mark.stack

_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_SLEEPS = "import time; time.sleep(300)"
_LONG = {"wall_s": 300}
"""More than any test waits: by itself a program has ten seconds, and ends well when they are over."""


class Deployments:
    """Prefect's API, as its pages use it."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What it answers; on SQLite it may ask for patience while somebody else writes."""
        taken: list[httpx.Response] = []

        def is_taken() -> bool:
            taken.append(self.client.post(path, json=body))
            return taken[-1].status_code != 503

        patiently(is_taken)
        return taken[-1].raise_for_status().json()

    def steps(self, run_id: str) -> set[str]:
        """The names of the steps that a run has had so far, as Prefect has noted them."""
        found = self.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {each["name"].rpartition("-")[0] for each in found}

    def start(self, deployment: str, parameters: dict[str, Any], **more: Any) -> str:
        """The id of a run of ``deployment``."""
        found = self.client.get(f"deployments/name/{deployment}").raise_for_status().json()
        body = {"parameters": parameters, **more}
        return str(self.post(f"deployments/{found['id']}/create_flow_run", body)["id"])

    def evaluate(self, code: str, **more: Any) -> str:
        """The id of a run that evaluates a Python program."""
        return self.start("evaluate-program/evaluate", {"language": "python", "code": code, **more})

    def run(self, run_id: str) -> dict[str, Any]:
        """How a run stands."""
        found: dict[str, Any] = self.client.get(f"flow_runs/{run_id}").raise_for_status().json()
        return found

    def becomes(self, run_id: str, *types: str) -> dict[str, Any]:
        """The run, once its state is one of ``types``."""
        patiently(lambda: self.run(run_id)["state_type"] in types)
        return self.run(run_id)

    def artifact(self, run_id: str) -> dict[str, Any]:
        """The one thing that a run left."""
        found: dict[str, Any]
        [found] = self.post("artifacts/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return found


@pytest.fixture
def prefect(stack: StackState) -> Iterator[Deployments]:
    """The Prefect server of the stack that all tests share."""
    # A connection each: Prefect's server hangs up after it has asked for patience.
    one_each = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=f"{stack.prefect_api_url}/", timeout=60, limits=one_each) as client:
        yield Deployments(client)


@pytest.fixture
def flows(crucible: CommandLine) -> Callable[[], ServiceStatus]:
    """How the service is doing that runs flows."""

    def now() -> ServiceStatus:
        return crucible.service("flows")

    return now


def test_a_program_is_run_on_both_legs_and_shown(prefect: Deployments, stack: StackState) -> None:
    shown = "print('```'); print('<b>|</b>')"
    run_id = prefect.evaluate(shown, tags=["by hand"], limits={"wall_s": 5}, priority=9)
    run = prefect.becomes(run_id, *_FINAL)
    assert (run["state_type"], run["state"]["message"]) == ("COMPLETED", "match")
    assert run["name"].startswith("python program ")
    assert "evaluation" in run["tags"]
    page = prefect.artifact(run_id)["data"]
    assert page.startswith("# Match")
    assert f"]({stack.gateway_url}/dashboard/evaluations/ev-" in page
    assert "````\n```\n<b>|</b>\n````" in page
    patiently(lambda: prefect.steps(run_id) == {"legacy leg", "celery leg", "compare"})


def test_a_run_has_no_process_of_its_own(prefect: Deployments, flows: Callable[[], ServiceStatus]) -> None:
    run_id = prefect.evaluate(_SLEEPS, limits=_LONG)
    prefect.becomes(run_id, "RUNNING")
    assert psutil.Process(flows().pid).children(recursive=True) == []
    prefect.post(f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
    prefect.becomes(run_id, "CANCELLED")


def test_a_name_that_somebody_gave_stays(prefect: Deployments) -> None:
    asked = {"language": "python", "code": "print()"}
    run_id = prefect.start("evaluate-program/evaluate", asked, name="The one I wanted")
    assert prefect.becomes(run_id, *_FINAL)["name"] == "The one I wanted"


def test_what_does_not_fit_the_form_is_refused(prefect: Deployments) -> None:
    for misfit in ({"language": "cobol"}, {"priority": 10}, {"limits": {"wall_s": 0}}):
        with pytest.raises(httpx.HTTPStatusError, match=r"409|422"):
            prefect.start("evaluate-program/evaluate", {"language": "python", "code": "", **misfit})
    unknown = prefect.evaluate("", colour="red")
    assert prefect.becomes(unknown, *_FINAL)["state_type"] == "FAILED"


def test_to_cancel_a_run_stops_both_legs(prefect: Deployments, stack: StackState) -> None:
    run_id = prefect.evaluate(_SLEEPS, limits=_LONG)
    evaluation = evaluation_of(prefect, run_id)
    prefect.post(f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
    prefect.becomes(run_id, "CANCELLED")
    assert classification(stack, evaluation) == "cancelled"


def test_a_process_that_is_killed_leaves_no_run_running_and_no_evaluation_open(
    prefect: Deployments, stack: StackState, flows: Callable[[], ServiceStatus]
) -> None:
    run_id = prefect.evaluate("import time; time.sleep(20); print('still')", limits=_LONG)
    evaluation = evaluation_of(prefect, run_id)
    before = flows().pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    run = prefect.becomes(run_id, *_FINAL)
    assert run["state_type"] == "CRASHED"
    assert "no more" in run["state"]["message"]
    patiently(lambda: classification(stack, evaluation) == "match")
    patiently(lambda: flows().state == "ready" and flows().pid != before)
    assert prefect.becomes(prefect.evaluate("print()"), *_FINAL)["state_type"] == "COMPLETED"


def test_a_process_that_is_to_end_settles_what_is_open(
    prefect: Deployments, stack: StackState, flows: Callable[[], ServiceStatus]
) -> None:
    run_id = prefect.evaluate(_SLEEPS, limits=_LONG)
    evaluation = evaluation_of(prefect, run_id)
    before = psutil.Process(flows().pid)
    before.terminate()
    assert prefect.becomes(run_id, *_FINAL)["state_type"] == "CANCELLED"
    assert classification(stack, evaluation) == "cancelled"
    patiently(lambda: not before.is_running() and flows().state == "ready" and flows().pid != before.pid)


def evaluation_of(prefect: Deployments, run_id: str) -> str:
    """The id of the evaluation that a run, which has begun, is about: its log names the page."""
    found: list[str] = []

    def is_logged() -> bool:
        logs = prefect.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}})
        found.extend(
            each["message"].rpartition("/")[2] for each in logs if "/evaluations/ev-" in each["message"]
        )
        return bool(found)

    patiently(is_logged)
    return found[0]


def classification(stack: StackState, evaluation: str) -> str | None:
    """The column of an evaluation; null while it has none."""
    document = httpx.get(
        f"{stack.api_url}/evaluations/{evaluation}", headers=bearer(stack), timeout=60
    ).json()
    found: str | None = document["classification"]
    return found
