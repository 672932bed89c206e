"""How parts end in a cluster: in the time that their code takes, when nobody is sent there any more."""

import re
from collections.abc import Iterator

import pytest

from api import server as api_server
from api import wiring as api_wiring
from deployments.stack import supervisor
from executors.service import __main__ as executor_service
from flows import controller
from flows import serving as flow_service
from tasks import worker_process
from tests.support.kubernetes.rendering import EXAMPLE, FOLDER, Cluster, rendered
from tests.support.kubernetes.workloads import workloads

EXECUTORS = ("executor-1", "executor-2", "executor-3")
WORKERS = ("legacy-worker-1", "legacy-worker-2", "celery-worker")


@pytest.fixture(params=["base", "example"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The base, and the example of an overlay."""
    return rendered(overlay=EXAMPLE) if request.param == "example" else rendered()


def times_to_end(cluster: Cluster) -> Iterator[tuple[str, float]]:
    """Seconds that each process takes to end by itself, as its own code has it."""
    for name in EXECUTORS:
        drain = workloads(cluster)[name].environment["CRUCIBLE_EXECUTOR_DRAIN_S"]
        yield name, float(str(drain)) + executor_service._SENT_WITHIN_S
    for name in WORKERS:
        yield name, worker_process.STOP_WITHIN_S
    yield "flows", flow_service._LEAVE_WITHIN_S + 5  # and what Prefect is still to be told
    yield "controller", controller.FINISH_WITHIN_S + 5
    yield "api", api_server._DRAIN_S + api_wiring.FINISH_WITHIN_S + 5


def test_who_ends_is_given_the_time_that_its_code_takes(cluster: Cluster) -> None:
    for name, seconds in times_to_end(cluster):
        workload = workloads(cluster)[name]
        before = workload.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert workload.pod["terminationGracePeriodSeconds"] >= before + max(seconds, supervisor.GRACE_S)


def test_who_is_sent_requests_ends_after_nobody_is_sent_there_any_more(cluster: Cluster) -> None:
    for name in (*EXECUTORS, "api", "gateway"):
        lifecycle = workloads(cluster)[name].container["lifecycle"]
        assert lifecycle["preStop"]["sleep"]["seconds"] >= 5


def test_the_document_tells_the_same_times() -> None:
    text = (FOLDER.parents[1] / "docs" / "kubernetes.md").read_text()
    table = text[text.index("| workload |") :].split("\n\n")[0]
    told: dict[str, int] = {}
    for _, names, _, times, *_ in (row.split("|") for row in table.splitlines()[2:]):
        found = [int(seconds) for seconds in re.findall(r"(\d+) s", times)]
        parts = re.findall(r"`([a-z0-9-]+)`", names)
        told |= zip(parts, found * len(parts) if len(found) == 1 else found, strict=True)
    assert told == {
        name: workload.pod["terminationGracePeriodSeconds"]
        for name, workload in workloads(rendered("postgres")).items()
    }
