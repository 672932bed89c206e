"""How each part runs in a cluster: bounded, without rights, in the numbers it may have."""

import re

import pytest

from tests.support.kubernetes.rendering import EXAMPLE, Cluster, rendered
from tests.support.kubernetes.workloads import Workload, bytes_of, selects, workloads

EXECUTORS = ("executor-1", "executor-2", "executor-3")
WORKERS = ("legacy-worker-1", "legacy-worker-2", "celery-worker")
SINGLE = {"redis", "celery-redis", "postgres", "prefect", "flows", "flower", *EXECUTORS}


NO_PRIVILEGE = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.fixture(params=["base", "postgres", "example"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The base, the same with a Postgres, and the example of an overlay."""
    if request.param == "example":
        return rendered(overlay=EXAMPLE)
    return rendered() if request.param == "base" else rendered(request.param)


def test_every_part_has_a_place_reserved_and_an_end_to_its_memory(cluster: Cluster) -> None:
    for workload in workloads(cluster).values():
        resources = workload.container["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}, workload.name
        assert bytes_of(resources["limits"]["memory"]) >= bytes_of(resources["requests"]["memory"])


def test_a_redis_refuses_writes_before_its_memory_ends(cluster: Cluster) -> None:
    (maps,) = (each["data"] for each in cluster.of_kind("ConfigMap") if "valkey.conf" in each["data"])
    found = re.search(r"^maxmemory (\d+)mb$", maps["valkey.conf"], re.MULTILINE)
    assert found
    for name in ("redis", "celery-redis"):
        limit = bytes_of(workloads(cluster)[name].container["resources"]["limits"]["memory"])
        # What a rewrite of the log copies comes on top.
        assert int(found[1]) << 20 <= 0.8 * limit


def test_nobody_has_a_right_or_a_privilege(cluster: Cluster) -> None:
    for workload in workloads(cluster).values():
        pod, context = workload.pod, workload.pod["securityContext"]
        assert pod["automountServiceAccountToken"] is False, workload.name
        assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 10001)
        kinds = {kind for volume in pod["volumes"] for kind in set(volume) - {"name"}}
        assert kinds <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        for key, value in NO_PRIVILEGE.items():
            assert workload.container["securityContext"][key] == value


def test_the_cluster_would_refuse_more_rights_where_no_programs_run(cluster: Cluster) -> None:
    for workload in workloads(cluster).values():
        if workload.namespace == "crucible":
            assert workload.pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert set(workload.container["securityContext"]) == set(NO_PRIVILEGE)
            assert "hostUsers" not in workload.pod
    namespace = cluster.get("Namespace", "crucible")["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"


def test_names_of_services_are_not_made_variables(cluster: Cluster) -> None:
    # A service "api" would be CRUCIBLE's neighbour API_PORT=tcp://..., and "prefect" PREFECT_PORT.
    assert all(each.pod["enableServiceLinks"] is False for each in workloads(cluster).values())


def test_what_is_written_is_bounded_or_on_a_volume(cluster: Cluster) -> None:
    for workload in workloads(cluster).values():
        volumes = {each["name"]: each for each in workload.pod["volumes"]}
        claimed = {
            each["metadata"]["name"] for each in workload.resource["spec"].get("volumeClaimTemplates", [])
        }
        mounts = {each["mountPath"]: each["name"] for each in workload.container["volumeMounts"]}
        assert set(mounts.values()) == set(volumes) | claimed, workload.name
        assert all(each["emptyDir"].get("sizeLimit") for each in volumes.values() if "emptyDir" in each)
        if workload.module:
            assert {"/tmp", "/var/lib/crucible"} <= set(mounts)


def test_images_have_tags(cluster: Cluster) -> None:
    for workload in workloads(cluster).values():
        _, _, tag = workload.container["image"].rpartition(":")
        assert re.fullmatch(r"\d+\.\d+\.\d+", tag), workload.name


def test_every_part_is_in_one_disruption_budget_that_lets_machines_be_drained(cluster: Cluster) -> None:
    budgets = list(cluster.of_kind("PodDisruptionBudget"))
    meant = {
        each["metadata"]["name"]: [
            workload
            for workload in workloads(cluster).values()
            if workload.namespace == each["metadata"]["namespace"]
            and selects(each["spec"]["selector"], workload.labels)
        ]
        for each in budgets
    }
    in_budgets = sorted(workload.name for group in meant.values() for workload in group)
    assert in_budgets == sorted(workloads(cluster))
    for budget in budgets:
        pods = sum(pods_of(cluster, each) for each in meant[budget["metadata"]["name"]])
        spec = budget["spec"]
        assert spec.get("maxUnavailable", 0) == 1 or 0 < spec["minAvailable"] < pods


def pods_of(cluster: Cluster, workload: Workload) -> int:
    """How many there are at least."""
    scaled = {each["metadata"]["name"]: each["spec"] for each in cluster.of_kind("ScaledObject")}
    if workload.name in scaled:
        return int(scaled[workload.name]["minReplicaCount"])
    return int(workload.resource["spec"]["replicas"])


def test_there_is_one_of_what_there_can_be_only_one_of(cluster: Cluster) -> None:
    for workload in workloads(cluster).values():
        pods = pods_of(cluster, workload)
        assert (pods == 1) == (workload.name in SINGLE | {"legacy-worker-1", "legacy-worker-2"})
        if "persistentVolumeClaim" in str(workload.pod["volumes"]) or workload.name == "prefect":
            assert workload.resource["spec"]["strategy"] == {"type": "Recreate"}


def test_what_there_are_several_of_is_spread_over_machines(cluster: Cluster) -> None:
    found = workloads(cluster)
    for names in (EXECUTORS, WORKERS[:2], WORKERS[2:], ("gateway",), ("api",), ("controller",)):
        for name in names:
            (spread,) = found[name].pod["topologySpreadConstraints"]
            assert spread["topologyKey"] == "kubernetes.io/hostname"
            together = {each.name for each in found.values() if selects(spread["labelSelector"], each.labels)}
            assert together == set(names)
