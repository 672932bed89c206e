"""Where parts look for each other in a cluster: at services that exist, at ports that somebody listens on."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from deployments.stack.servers import MAX_BODY_BYTES
from tests.support.kubernetes.rendering import EXAMPLE, Cluster, rendered
from tests.support.kubernetes.secret import told
from tests.support.kubernetes.workloads import selects, workloads

_ADDRESS = re.compile(r"^(?:[a-z+]+://)?(?:[^@/]*@)?([a-z][a-z0-9.-]*):(\d+)(?:/|$)")


@pytest.fixture(params=["postgres", "example"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The base with a Postgres, and the example of an overlay."""
    return rendered(overlay=EXAMPLE) if request.param == "example" else rendered(request.param)


def test_every_address_is_that_of_a_service_and_of_a_port_behind_it(cluster: Cluster) -> None:
    outside = {urlsplit(str(workloads(cluster)["api"].environment["CRUCIBLE_GATEWAY_URL"])).hostname}
    listening = dict(services(cluster))
    seen = set()
    for workload in workloads(cluster).values():
        for name, value in told(workload).items():
            for part in value.split(",") if "://" in value or name.startswith("CRUCIBLE_GATEWAY_") else ():
                found = _ADDRESS.match(part)
                if found and found[1] not in outside:
                    host, _, namespace = found[1].partition(".")
                    place = (host, namespace or workload.namespace)
                    assert int(found[2]) in listening[place], f"{workload.name}: {name}={part}"
                    seen.add(place)
    assert seen == set(listening) - {("gateway", "crucible")}


def services(cluster: Cluster) -> Iterator[tuple[tuple[str, str], set[int]]]:
    """The ports of each service by name and namespace, which all lead to one workload's."""
    for service in cluster.of_kind("Service"):
        spec = service["spec"]
        (behind,) = (
            each
            for each in workloads(cluster).values()
            if each.namespace == service["metadata"]["namespace"]
            and selects({"matchLabels": spec["selector"]}, each.labels)
        )
        assert behind.name == service["metadata"]["name"]
        for each in spec["ports"]:
            assert behind.ports[each["targetPort"]] == each["port"]
        yield (behind.name, behind.namespace), {each["port"] for each in spec["ports"]}


def test_the_gateway_takes_as_much_as_the_api(cluster: Cluster) -> None:
    gateway = workloads(cluster)["gateway"]
    assert gateway.environment["CRUCIBLE_GATEWAY_MAX_BODY"] == str(MAX_BODY_BYTES)
    assert gateway.environment["CRUCIBLE_GATEWAY_LISTEN"] == str(gateway.ports["http"])


def test_links_lead_to_where_browsers_are(cluster: Cluster) -> None:
    for name in ("api", "flows", "controller"):
        environment = workloads(cluster)[name].environment
        gateway = environment["CRUCIBLE_GATEWAY_URL"]
        assert environment["CRUCIBLE_API_URL"] == f"{gateway}/api"
        assert environment["CRUCIBLE_PREFECT_URL"] == f"{gateway}/prefect"


def test_each_legacy_worker_prefers_another_executor(cluster: Cluster) -> None:
    found = workloads(cluster)
    first, second = (
        str(found[f"legacy-worker-{number}"].environment["CRUCIBLE_LEGACY_EXECUTOR_URLS"]).split(",")
        for number in (1, 2)
    )
    assert first == second[::-1] == [f"http://executor-{number}.crucible-executors:8100" for number in (1, 2)]
