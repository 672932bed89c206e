"""Executors in a cluster: apart from all else, nobody on their machine, alike, with room for programs."""

import pytest

from crucible.models import Limits
from tests.support.kubernetes.rendering import EXAMPLE, Cluster, Resource, rendered
from tests.support.kubernetes.workloads import bytes_of, workloads

EXECUTORS = ("executor-1", "executor-2", "executor-3")
_OVERHEAD_BYTES = 512 << 20
"""What an executor needs beside its programs."""


@pytest.fixture(params=["base", "example"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The base, and the example of an overlay."""
    return rendered(overlay=EXAMPLE) if request.param == "example" else rendered()


def test_executors_run_on_machines_of_their_own_as_users_nobody_else_is(cluster: Cluster) -> None:
    for name in EXECUTORS:
        pod = workloads(cluster)[name].pod
        assert pod["nodeSelector"] == {"crucible-pool": "executors"}
        assert pod["tolerations"] == [
            {"key": "crucible-pool", "operator": "Equal", "value": "executors", "effect": "NoSchedule"}
        ]
        assert pod["dnsPolicy"] == "None"
        assert pod["hostUsers"] is False
    others = [each for each in workloads(cluster).values() if each.name not in EXECUTORS]
    assert {each.namespace for each in others} == {"crucible"}
    assert not [each.name for each in others if {"tolerations", "nodeSelector"} & set(each.pod)]


def test_executors_differ_in_nothing_but_their_names_and_legs(cluster: Cluster) -> None:
    found = [workloads(cluster)[name] for name in EXECUTORS]
    assert found[0].pod == found[1].pod == found[2].pod
    assert found[0].environment == found[1].environment == found[2].environment
    assert [each.labels["crucible-leg"] for each in found] == ["legacy", "legacy", "celery"]


def test_an_executor_has_a_cpu_and_room_for_each_of_its_slots_and_nobody_else_has_them(
    cluster: Cluster,
) -> None:
    for name in EXECUTORS:
        workload = workloads(cluster)[name]
        slots = int(str(workload.environment["CRUCIBLE_EXECUTOR_SLOTS"]))
        program_mb = int(str(workload.environment["CRUCIBLE_EXECUTOR_MEMORY_LIMIT_MB"])) + Limits().disk_mb
        resources: Resource = workload.container["resources"]
        assert resources["requests"] == resources["limits"]
        assert int(resources["limits"]["cpu"]) >= slots
        assert bytes_of(resources["limits"]["memory"]) >= slots * (program_mb << 20) + _OVERHEAD_BYTES


def test_behind_a_kernel_of_their_own_nothing_need_be_allowed() -> None:
    cluster = rendered("gvisor")
    classes = {each["metadata"]["name"]: each["handler"] for each in cluster.of_kind("RuntimeClass")}
    assert classes == {"gvisor": "runsc"}
    for name in EXECUTORS:
        workload = workloads(cluster)[name]
        assert workload.pod["runtimeClassName"] in classes
        assert workload.pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostUsers", "appArmorProfile", "procMount"} & {
            *workload.pod,
            *workload.pod["securityContext"],
            *workload.container["securityContext"],
        }
    labels = cluster.get("Namespace", "crucible-executors")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
