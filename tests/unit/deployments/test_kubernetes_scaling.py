"""How many workers there are, and by what: the queues as the code names them."""

import pytest

from crucible.settings import CelerySettings, ExecutorSettings, LegacySettings
from tasks.celery_leg.app import broker_keys
from tasks.celery_leg.app import queue_keys as celery_keys
from tasks.legacy_leg.queue import queue_keys as legacy_keys
from tests.support.kubernetes.rendering import EXAMPLE, Cluster, Resource, rendered
from tests.support.kubernetes.workloads import FromSecret, Workload, workloads

LEGACY, CELERY = ("legacy-worker-1", "legacy-worker-2"), ("celery-worker",)
EXECUTORS = {LEGACY: ("executor-1", "executor-2"), CELERY: ("executor-3",)}
CONCURRENCY = {LEGACY: LegacySettings().concurrency, CELERY: CelerySettings().concurrency}


@pytest.fixture(params=["base", "example"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The base, and the example of an overlay."""
    return rendered() if request.param == "base" else rendered(overlay=EXAMPLE)


def scaled(cluster: Cluster, names: tuple[str, ...]) -> list[Resource]:
    """What says how many pods these workloads have."""
    found = [cluster.get("ScaledObject", name)["spec"] for name in names]
    assert [each["scaleTargetRef"]["name"] for each in found] == list(names)
    return found


def lists(spec: Resource) -> list[str]:
    return [each["metadata"]["listName"] for each in spec["triggers"]]


def test_every_list_of_a_leg_is_counted_once_and_what_workers_have_in_hand() -> None:
    legacy = [*legacy_keys(LegacySettings()).values(), LegacySettings().processing_key]
    unacked = broker_keys(CelerySettings())[0]
    for spec in scaled(rendered(), LEGACY):
        assert lists(spec) == legacy
    assert lists(scaled(rendered(), CELERY)[0]) == [*celery_keys(CelerySettings()), unacked]


def test_all_that_is_counted_is_added_up(cluster: Cluster) -> None:
    # Else the longest list alone would say how many pods there are.
    for spec in scaled(cluster, LEGACY + CELERY):
        names = [each["name"] for each in spec["triggers"]]
        assert spec["advanced"]["scalingModifiers"]["formula"] == " + ".join(names)
        assert len(set(names)) == len(names) == 11


def test_the_queue_asked_is_the_one_that_the_workers_take_from(cluster: Cluster) -> None:
    found = workloads(cluster)
    for names, server in ((LEGACY, "redis"), (CELERY, "celery-redis")):
        for spec in scaled(cluster, names):
            authentications = {each["authenticationRef"]["name"] for each in spec["triggers"]}
            assert authentications == {server}
        asked = cluster.get("TriggerAuthentication", server)["spec"]["secretTargetRef"]
        keys = {each["parameter"]: (each["name"], each["key"]) for each in asked}
        assert keys == {name: ("crucible", f"{server}-{name}") for name in ("address", "password")}
        variable = "CRUCIBLE_REDIS_URL" if server == "redis" else "CRUCIBLE_CELERY_REDIS_URL"
        told = {found[name].environment[variable] for name in names}
        assert told == {FromSecret(f"{server}-url")}


@pytest.mark.parametrize("names", [LEGACY, CELERY])
def test_workers_can_fill_the_slots_of_their_executors_and_never_overflow_their_queues(
    cluster: Cluster, names: tuple[str, ...]
) -> None:
    pods = sum(spec["maxReplicaCount"] for spec in scaled(cluster, names))
    at_once = pods * CONCURRENCY[names]
    slots = [slots_of(workloads(cluster)[name]) for name in EXECUTORS[names]]
    waiting = ExecutorSettings().queue_limit * len(slots)
    assert sum(slots) <= at_once <= sum(slots) + waiting


@pytest.mark.parametrize("names", [LEGACY, CELERY])
def test_a_pod_comes_for_twice_what_one_carries_and_never_the_last_goes(
    cluster: Cluster, names: tuple[str, ...]
) -> None:
    specs = scaled(cluster, names)
    for spec in specs:
        modifiers = spec["advanced"]["scalingModifiers"]
        assert int(modifiers["target"]) == 2 * CONCURRENCY[names] * len(specs)
        assert modifiers["metricType"] == "AverageValue"
        assert spec["fallback"]["replicas"] == spec["minReplicaCount"] >= 1
    # KEDA says how many: a number in the manifest would be set again with each update.
    assert all("replicas" not in cluster.get("Deployment", name)["spec"] for name in names)


def slots_of(executor: Workload) -> int:
    slots = executor.environment["CRUCIBLE_EXECUTOR_SLOTS"]
    assert isinstance(slots, str)
    return int(slots)
