"""Who may reach whom in a cluster: what the policies let through is what the document says, and no more."""

import re

import pytest

from tests.support.kubernetes.reachability import Edge, Outside, addresses, edges
from tests.support.kubernetes.rendering import FOLDER, Cluster, rendered
from tests.support.kubernetes.workloads import workloads

EXECUTORS = {"executor-1", "executor-2", "executor-3"}
OUTSIDE = {
    "ingress": Outside("ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"}),
    "keda": Outside("keda", {"app": "keda-operator"}),
    "dns": Outside("kube-system", {"k8s-app": "kube-dns"}, ("53/UDP", "53/TCP")),
    "stranger": Outside("elsewhere", {"app": "keda-operator", "k8s-app": "kube-dns"}, ("53/UDP", "443/TCP")),
    "monitoring": Outside("monitoring", {"app": "prometheus"}),
}
"""Pods elsewhere. Nobody has to do with the stranger, and with monitoring only where it is asked for."""

_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| (\d+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """The base with a Postgres in the cluster."""
    return rendered("postgres")


def documented() -> set[Edge]:
    """The table of docs/kubernetes.md."""
    text = (FOLDER.parents[1] / "docs" / "kubernetes.md").read_text()
    return {
        (source.strip("* "), target.strip("* "), f"{port}/{protocol}")
        for sources, targets, port in _ROW.findall(text)
        for source in sources.split(",")
        for target in targets.split(",")
        for protocol in (("UDP", "TCP") if port == "53" else ("TCP",))
    }


def test_what_is_let_through_is_what_the_document_says(cluster: Cluster) -> None:
    assert edges(cluster, OUTSIDE) == documented()


def test_neither_side_relies_on_the_other(cluster: Cluster) -> None:
    # A policy that is too wide on one side would wait for a mistake on the other.
    inside = set(workloads(cluster))
    let_through = {edge for edge in documented() if {*edge[:2]} <= inside}
    for side in ("Egress", "Ingress"):
        assert {edge for edge in edges(cluster, OUTSIDE, [side]) if {*edge[:2]} <= inside} == let_through


def test_executors_reach_nothing_and_only_workers_of_their_leg_and_flow_hosts_reach_them(
    cluster: Cluster,
) -> None:
    found = edges(cluster, OUTSIDE)
    assert not [edge for edge in found if edge[0] in EXECUTORS]
    into = {(target, source) for source, target, _ in found if target in EXECUTORS}
    flow_hosts = {(name, host) for name in EXECUTORS for host in ("api", "flows", "controller")}
    legacy = {
        (name, worker)
        for name in ("executor-1", "executor-2")
        for worker in ("legacy-worker-1", "legacy-worker-2")
    }
    assert into == flow_hosts | legacy | {("executor-3", "celery-worker")}


def test_every_pod_is_closed_in_both_directions_unless_something_opens_it(cluster: Cluster) -> None:
    closing = [each for each in cluster.of_kind("NetworkPolicy") if each["metadata"]["name"] == "nothing"]
    namespaces = {each["metadata"]["name"] for each in cluster.of_kind("Namespace")}
    assert {each["metadata"]["namespace"] for each in closing} == namespaces
    for each in closing:
        assert each["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    bare = Cluster(tuple(each for each in cluster.resources if each["kind"] != "NetworkPolicy"))
    assert edges(Cluster((*bare.resources, *closing)), OUTSIDE) == set()
    assert ("executor-1", "redis", "6379/TCP") in edges(bare, OUTSIDE)


def test_no_pod_reaches_addresses_but_where_a_component_says_so(cluster: Cluster) -> None:
    assert {name for name, each in workloads(cluster).items() if addresses(cluster, each)} == set()
    elsewhere = rendered("postgres-elsewhere")
    found = {name: addresses(elsewhere, each) for name, each in workloads(elsewhere).items()}
    assert {name for name, blocks in found.items() if blocks} == {"api", "flows", "controller", "prefect"}
    assert found["api"] == {("192.0.2.0/24", "5432/TCP")}
    queue = rendered("existing-queue")
    found = {name: addresses(queue, each) for name, each in workloads(queue).items()}
    users = {"api", "flows", "controller", "celery-worker", "legacy-worker-1", "legacy-worker-2"}
    assert {name for name, blocks in found.items() if blocks} == users
    assert "redis" not in found
    outgoing = rendered("webhook")
    found = {name: addresses(outgoing, each) for name, each in workloads(outgoing).items()}
    assert {name for name, blocks in found.items() if blocks} == {"flows", "controller"}


def test_monitoring_is_let_in_where_figures_are_and_nowhere_else() -> None:
    watched = {
        (target, port)
        for source, target, port in edges(rendered("monitoring"), OUTSIDE)
        if source == "monitoring"
    }
    workers = {"legacy-worker-1", "legacy-worker-2", "celery-worker", "flows", "controller"}
    assert watched == {
        *((name, "8100/TCP") for name in EXECUTORS),
        *((name, "9400/TCP") for name in workers),
        ("api", "8080/TCP"),
    }
