"""What runs, as the manifests have it: pods, what they are told, and where they are found."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.kubernetes.rendering import Cluster, Resource

Labels = Mapping[str, str]

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


@dataclass(frozen=True)
class FromSecret:
    """A value that the Secret holds under ``key``."""

    key: str


@dataclass(frozen=True)
class FromPod:
    """A value that is the pod's own, by the path of the field."""

    path: str


Value = str | FromSecret | FromPod


@dataclass(frozen=True)
class Workload:
    """A Deployment or StatefulSet, whose pods have one container each."""

    resource: Resource
    environment: Mapping[str, Value]

    @property
    def name(self) -> str:
        """Its name."""
        name: str = self.resource["metadata"]["name"]
        return name

    @property
    def namespace(self) -> str:
        """Where it runs."""
        namespace: str = self.resource["metadata"]["namespace"]
        return namespace

    @property
    def labels(self) -> Labels:
        """The labels of its pods."""
        labels: Labels = self.resource["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def pod(self) -> Resource:
        """What its pods are made of."""
        pod: Resource = self.resource["spec"]["template"]["spec"]
        return pod

    @property
    def container(self) -> Resource:
        """The one container of its pods."""
        (container,) = self.pod["containers"]
        found: Resource = container
        return found

    @property
    def module(self) -> str | None:
        """The Python module it runs, as ``python3 -P -m`` does; none where it runs something else."""
        words = [*self.container.get("command", []), *self.container.get("args", [])]
        return words[words.index("-m") + 1] if words[-4:-1] == ["python3", "-P", "-m"] else None

    @property
    def ports(self) -> dict[str, int]:
        """Its container's ports by name."""
        return {each["name"]: each["containerPort"] for each in self.container["ports"]}

    @property
    def secrets(self) -> set[str]:
        """The keys of the Secret it is given, as variables or as files."""
        volumes = (each["secret"] for each in self.pod.get("volumes", []) if "secret" in each)
        files = {item["key"] for volume in volumes for item in volume["items"]}
        return files | {each.key for each in self.environment.values() if isinstance(each, FromSecret)}


def workloads(cluster: Cluster) -> dict[str, Workload]:
    """All of them by name."""
    found = (
        Workload(each, _environment(cluster, each)) for each in cluster.of_kind("Deployment", "StatefulSet")
    )
    return {each.name: each for each in found}


def selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a label selector of Kubernetes, with or without expressions, is about ``labels``."""
    exact = selector.get("matchLabels", {}).items() <= dict(labels).items()
    return exact and all(_holds(each, labels) for each in selector.get("matchExpressions", []))


def bytes_of(quantity: str) -> int:
    """An amount of memory as Kubernetes writes it."""
    found = re.fullmatch(r"(\d+)([KMG]i)", quantity)
    assert found, quantity
    return int(found[1]) * _UNITS[found[2]]


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    is_in = labels.get(expression["key"]) in expression["values"]
    return {"In": is_in, "NotIn": not is_in}[expression["operator"]]


def _environment(cluster: Cluster, resource: Resource) -> dict[str, Value]:
    (container,) = resource["spec"]["template"]["spec"]["containers"]
    found: dict[str, Value] = {}
    for source in container.get("envFrom", []):
        found |= cluster.get("ConfigMap", source["configMapRef"]["name"])["data"]
    return found | dict(_variables(container))


def _variables(container: Resource) -> Iterator[tuple[str, Value]]:
    for each in container.get("env", []):
        match each:
            case {"name": name, "value": value}:
                yield name, value
            case {"name": name, "valueFrom": {"secretKeyRef": {"key": key}}}:
                yield name, FromSecret(key)
            case {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}:
                yield name, FromPod(path)
            case _:
                raise AssertionError(f"a variable of no kind we use: {each}")
