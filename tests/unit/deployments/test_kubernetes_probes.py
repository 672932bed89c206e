"""What a cluster asks of each part: what the local stack asks it, or a path that it serves there."""

from urllib.parse import urlsplit

import pytest

from deployments.stack.readiness import Answers
from deployments.stack.service import ServiceSpec
from tests.support.kubernetes.local import local
from tests.support.kubernetes.rendering import rendered
from tests.support.kubernetes.workloads import workloads

__all__ = ["local"]

KINDS = ("startupProbe", "readinessProbe", "livenessProbe")
PROMPT = {
    "api",
    "flows",
    "controller",
    "flower",
    "gateway",
    "legacy-worker-1",
    "legacy-worker-2",
    "celery-worker",
}
"""All others load data, migrate a database or prove slots first."""

HOSTED_BY = {"controller": "flows"}
"""In the local stack."""


def test_every_part_is_asked_whether_it_has_started_is_ready_and_lives() -> None:
    for workload in workloads(rendered("postgres")).values():
        for kind in KINDS:
            probe = workload.container[kind]
            assert len({"httpGet", "tcpSocket", "exec"} & set(probe)) == 1, workload.name
            assert probe["timeoutSeconds"] > 1  # of a busy machine
            for how in ("httpGet", "tcpSocket"):
                assert probe.get(how, {}).get("port") in {None, *workload.ports}
        patience_s = workload.container["startupProbe"]["periodSeconds"]
        patience_s *= workload.container["startupProbe"]["failureThreshold"]
        assert patience_s >= (60 if workload.name in PROMPT else 180), workload.name


def test_whoever_serves_http_is_asked_what_it_answers_in_the_local_stack(
    local: dict[str, ServiceSpec],
) -> None:
    for name, workload in workloads(rendered()).items():
        asked = [
            workload.container[kind]["httpGet"] for kind in KINDS if "httpGet" in workload.container[kind]
        ]
        if asked:
            service = local[HOSTED_BY.get(name, name)]
            url = service.ready.url if isinstance(service.ready, Answers) else service.url
            assert {each["path"] for each in asked} == {urlsplit(str(url)).path}, name


@pytest.mark.parametrize("name", ["redis", "celery-redis", "postgres"])
def test_a_server_that_is_busy_is_left_alone(name: str) -> None:
    probe = workloads(rendered("postgres"))[name].container["livenessProbe"]
    assert "tcpSocket" in probe
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 60


def test_the_api_is_there_for_a_rollback_while_other_servers_are_away() -> None:
    container = workloads(rendered())["api"].container
    assert {container[kind]["httpGet"]["path"] for kind in KINDS} == {"/health"}
