"""Who may reach whom, worked out from network policies as Kubernetes reads them.

A connection is let through when its sender's policies let it out and its receiver's let it in. A pod that no
policy is about, in a direction, is open in it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.kubernetes.rendering import Cluster, Resource
from tests.support.kubernetes.workloads import Workload, selects, workloads

Edge = tuple[str, str, str]
"""From, to and ``port/protocol``."""

_NAMESPACE = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Outside:
    """Pods of another namespace; ``labels`` are those that a policy may ask for."""

    namespace: str
    labels: Mapping[str, str]
    ports: tuple[str, ...] = ()


def edges(
    cluster: Cluster, outside: Mapping[str, Outside], sides: Collection[str] = ("Egress", "Ingress")
) -> set[Edge]:
    """All connections that are let through among the workloads, and between those and ``outside``.

    With one of ``sides`` it is the policies of senders alone, or those of receivers, that are asked.
    """
    inside = workloads(cluster)
    policies = list(cluster.of_kind("NetworkPolicy"))
    ends: dict[str, Workload | Outside] = {**inside, **outside}
    return {
        (source, target, port)
        for source, sender in ends.items()
        for target, receiver in ends.items()
        if source != target and (source in inside or target in inside)
        for port in _ports(receiver)
        if ("Egress" not in sides or _lets(policies, "Egress", sender, receiver, port))
        and ("Ingress" not in sides or _lets(policies, "Ingress", receiver, sender, port))
    }


def addresses(cluster: Cluster, workload: Workload) -> set[tuple[str, str]]:
    """Blocks of addresses that the workload may reach, each with its port."""
    rules = _rules(list(cluster.of_kind("NetworkPolicy")), "Egress", workload) or ()
    return {
        (peer["ipBlock"]["cidr"], port)
        for rule in rules
        for peer in rule["to"]
        if "ipBlock" in peer
        for port in _named(rule, workload)
    }


def _ports(end: Workload | Outside) -> Iterable[str]:
    if isinstance(end, Outside):
        return end.ports
    return [f"{number}/TCP" for number in end.ports.values()]


def _lets(
    policies: list[Resource], direction: str, about: Workload | Outside, peer: Workload | Outside, port: str
) -> bool:
    """Whether policies about one end let it have the other one, to the ``port`` of whichever listens."""
    if isinstance(about, Outside):
        return True
    rules = _rules(policies, direction, about)
    listening = about if direction == "Ingress" else peer
    word = "from" if direction == "Ingress" else "to"
    return rules is None or any(
        any(_is_about(each, peer, about.namespace) for each in rule[word]) and port in _named(rule, listening)
        for rule in rules
    )


def _rules(policies: list[Resource], direction: str, workload: Workload) -> list[Mapping[str, Any]] | None:
    """The rules of all policies about the workload in that direction; none where there is no such policy."""
    specs = [
        each["spec"]
        for each in policies
        if each["metadata"]["namespace"] == workload.namespace
        and selects(each["spec"]["podSelector"], workload.labels)
    ]
    meant = [spec for spec in specs if direction in spec["policyTypes"]]
    if not meant:
        return None
    return [rule for spec in meant for rule in spec.get(direction.lower(), [])]


def _is_about(peer: Mapping[str, Any], end: Workload | Outside, namespace: str) -> bool:
    """Whether a peer that a policy of ``namespace`` names is that end."""
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        is_there = selects(peer["namespaceSelector"], {_NAMESPACE: end.namespace})
    else:
        is_there = end.namespace == namespace
    return is_there and selects(peer.get("podSelector", {}), end.labels)


def _named(rule: Mapping[str, Any], listening: Workload | Outside) -> Iterator[str]:
    """A rule's ports as numbers; some are the names of the listening container's."""
    for each in rule["ports"]:
        port = each["port"]
        if isinstance(port, str):
            port = listening.ports.get(port) if isinstance(listening, Workload) else None
        yield f"{port}/{each['protocol']}"
