"""Pages of Prefect and Flower behind the gateway: every asset is what it says, and nothing fails."""

import socket
from contextlib import suppress
from typing import NamedTuple

import pytest
from playwright.sync_api import TimeoutError as NotShown

from deployments.stack import StackState
from tests.support.browser import Visitor
from tests.support.flow_runs import created, found_of, has_steps, state_of
from tests.support.waiting import patiently

pytestmark = pytest.mark.stack

_SHOWN_WITHIN_MS = 15_000


class Done(NamedTuple):
    """An evaluation that a deployment has run: ids of its deployment, flow run, artifact, and its own."""

    deployment: str
    flow_run: str
    artifact: str
    evaluation: str


@pytest.fixture(scope="module")
def done(stack: StackState) -> Done:
    """One evaluation, handed in as by the form."""
    prefect = stack.prefect_api_url
    made = created(prefect, "evaluate-program/evaluate", {"language": "python", "code": "print('seen')"})
    patiently(lambda: state_of(prefect, made["id"]) == "COMPLETED")
    patiently(lambda: has_steps(prefect, made["id"], "legacy leg", "celery leg", "compare"))
    patiently(lambda: bool(found_of(prefect, "artifacts", made["id"])))
    [artifact] = found_of(prefect, "artifacts", made["id"])
    evaluation = artifact["description"].partition("**")[0].split()[-1].rstrip(":")
    return Done(made["deployment_id"], made["id"], artifact["id"], evaluation)


WORKER = f"celery-worker@{socket.gethostname()}"
PREFECT = {
    "/prefect/": "Flow Runs",
    "/prefect/runs": "python program",
    "/prefect/runs/flow-run/{0.flow_run}": "celery leg",
    "/prefect/deployments": "evaluate-program",
    "/prefect/deployments/deployment/{0.deployment}": "python program",
    "/prefect/artifacts": "comparison",
    "/prefect/artifacts/artifact/{0.artifact}": "executor-3",
    "/prefect/work-pools": "crucible",
    "/prefect/events": "Event Feed",
}
FLOWER = {
    "/flower/": WORKER,
    f"/flower/worker/{WORKER}": "Pool",
    "/flower/tasks": "crucible.run",
    "/flower/task/{0.evaluation}.0": "SUCCESS",
    "/flower/broker": "evaluations",
}


@pytest.mark.parametrize(("path", "text"), [*PREFECT.items(), *FLOWER.items()])
def test_a_page_loads_whole_from_this_origin_alone(
    visitor: Visitor, done: Done, path: str, text: str
) -> None:
    visitor.open(path.format(done))
    visitor.sees(text)
    assert visitor.faults == []
    suffixes = {each.rpartition(".")[2] for each in visitor.assets if not each.startswith("/dashboard/")}
    assert {"css", "js"} <= suffixes


def test_a_comparison_leads_to_its_page_of_ours(visitor: Visitor, done: Done) -> None:
    link = visitor.page.get_by_role("link", name=f"Evaluation {done.evaluation}")

    def is_shown() -> bool:
        visitor.open(f"/prefect/artifacts/artifact/{done.artifact}")
        with suppress(NotShown):
            link.wait_for(timeout=_SHOWN_WITHIN_MS)
        return link.is_visible()

    patiently(is_shown)  # Prefect's page stays empty where a request of it fails, as on a busy machine
    assert link.get_attribute("href") == f"{visitor.origin}/dashboard/evaluations/{done.evaluation}"


def test_nobody_sees_them_who_has_not_signed_in(visitor: Visitor) -> None:
    visitor.page.context.clear_cookies()
    for path in ("/prefect/runs", "/flower/tasks"):
        visitor.open(path)
        assert visitor.page.url == f"{visitor.origin}/dashboard/login?next={path}"
