"""Every manifest fits the schema of its kind, strictly: no key that nobody knows."""

import json
import re
from copy import deepcopy
from functools import cache

import jsonschema
import kubernetes_validate
import pytest

from tests.support.kubernetes.custom import SCALED_OBJECT, TRIGGER_AUTHENTICATION
from tests.support.kubernetes.rendering import EXAMPLE, FOLDER, Cluster, Resource, rendered

OURS = {"ScaledObject": SCALED_OBJECT, "TriggerAuthentication": TRIGGER_AUTHENTICATION}
VERSIONS = ("1.33", "1.37")
"""From the oldest that docs/kubernetes.md names to the newest there is a schema of."""

RENDERINGS = {
    "postgres": ("postgres", "monitoring"),
    "others": ("postgres-elsewhere", "existing-queue", "gvisor", "webhook"),
}


def check(resource: Resource, version: str) -> None:
    """Raises where the resource does not fit."""
    if resource["kind"] in OURS:
        jsonschema.validate(resource, OURS[resource["kind"]])
    else:
        kubernetes_validate.validate(resource, version, strict=True)


@cache
def check_once(resource: str, version: str) -> None:
    """The same for what several renderings have in common: to read a schema takes a while."""
    check(json.loads(resource), version)


@pytest.fixture(params=[*RENDERINGS, "example"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """What is rendered of the base, with each component, and the example."""
    if request.param == "example":
        return rendered(overlay=EXAMPLE)
    return rendered(*RENDERINGS[request.param])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_its_schema(cluster: Cluster, version: str) -> None:
    assert len(cluster.resources) > 40
    for resource in cluster.resources:
        check_once(json.dumps(resource), version)


def test_all_is_in_our_two_namespaces_under_names_of_its_own(cluster: Cluster) -> None:
    placed = [each for each in cluster.resources if each["kind"] not in {"Namespace", "RuntimeClass"}]
    namespaces = {each["metadata"]["name"] for each in cluster.of_kind("Namespace")}
    assert {each["metadata"]["namespace"] for each in placed} == namespaces
    assert namespaces == {"crucible", "crucible-executors"}
    names = [
        (each["kind"], each["metadata"]["name"], each["metadata"].get("namespace"))
        for each in cluster.resources
    ]
    assert len(set(names)) == len(names)


def test_every_component_is_rendered_and_in_the_document() -> None:
    components = {each.name for each in (FOLDER / "components").iterdir()}
    assert {name for names in RENDERINGS.values() for name in names} == components
    text = (FOLDER.parents[1] / "docs" / "kubernetes.md").read_text()
    table = text[text.index("| component |") :].split("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` ", table, re.MULTILINE)) == components


def test_a_key_that_nobody_knows_is_found_wherever_it_is() -> None:
    cluster = rendered()
    deployment = deepcopy(cluster.get("Deployment", "api"))
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        check(deployment, VERSIONS[0])
    scaled = deepcopy(cluster.get("ScaledObject", "celery-worker"))
    scaled["spec"]["triggers"][0]["metadata"]["listname"] = "misspelt"
    with pytest.raises(jsonschema.ValidationError, match="listname"):
        check(scaled, VERSIONS[0])
