"""The Secrets: made by a script, with every key that a pod asks for and none besides."""

import pytest

from crucible.store.database import parse
from tests.support.kubernetes.rendering import rendered
from tests.support.kubernetes.secret import made_secrets, secrets
from tests.support.kubernetes.workloads import workloads


def used(namespace: str) -> set[str]:
    """Keys that some pod there is given, or KEDA."""
    cluster = rendered("postgres")
    found = (each for each in workloads(cluster).values() if each.namespace == namespace)
    asked = (
        each["spec"]["secretTargetRef"]
        for each in cluster.of_kind("TriggerAuthentication")
        if each["metadata"]["namespace"] == namespace
    )
    return {key for each in found for key in each.secrets} | {
        each["key"] for targets in asked for each in targets
    }


def test_they_have_what_is_asked_for_and_nothing_else() -> None:
    assert {namespace: set(values) for namespace, values in secrets().items()} == {
        namespace: used(namespace) for namespace in ("crucible", "crucible-executors")
    }


def test_every_password_is_new_and_known_to_both_ends() -> None:
    first, second = secrets()["crucible"], made_secrets()["crucible"]
    repeated = {key for key, value in first.items() if value == second[key]}
    assert repeated == {"redis-address", "celery-redis-address"}
    for server in ("redis", "celery-redis"):
        password = first[f"{server}-password"]
        assert len(password) == 48
        assert first[f"{server}-auth"] == f"requirepass {password}"
        assert first[f"{server}-address"] == f"{server}.crucible:6379"
        assert first[f"{server}-url"] == f"redis://:{password}@{server}.crucible:6379/0"
    for key, role in (("database-url", "crucible"), ("prefect-database-url", "prefect")):
        password = parse(first[key]).password
        assert f"ALTER ROLE {role} PASSWORD '{password}'\n" in first["postgres-passwords"]
    single = [first[key] for key in ("api-key", "executor-token", "flower-password")]
    assert len(set(single)) == 3


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@db.example/store?ssl=require"])
def test_a_postgres_elsewhere_is_taken_as_it_is_named(url: str) -> None:
    prefect_url = "postgresql+asyncpg://p@db.example/prefect"
    made = made_secrets(DATABASE_URL=url, PREFECT_DATABASE_URL=prefect_url)["crucible"]
    assert made["database-url"] == url
    assert made["prefect-database-url"] == prefect_url


@pytest.mark.parametrize(
    ("url", "password"),
    [("redis://:s3cret@legacy.example:6380/2", "s3cret"), ("redis://legacy.example:6380", "")],
)
def test_a_legacy_queue_that_is_there_is_taken_as_it_is_named(url: str, password: str) -> None:
    made = made_secrets(REDIS_URL=url)["crucible"]
    assert (made["redis-url"], made["redis-password"]) == (url, password)
    assert made["redis-address"] == "legacy.example:6380"


def test_no_manifest_has_a_secret_in_it() -> None:
    cluster = rendered("postgres")
    assert list(cluster.of_kind("Secret")) == []
    # What looks like a password is in no variable that is written out.
    written = {
        name
        for each in workloads(cluster).values()
        for name, value in each.environment.items()
        if isinstance(value, str) and any(word in name for word in ("PASSWORD", "TOKEN", "KEY", "DATABASE"))
    }
    assert written == set()


def test_executors_know_their_token_and_nothing_more() -> None:
    assert secrets()["crucible-executors"] == {"executor-token": secrets()["crucible"]["executor-token"]}
    found = workloads(rendered()).values()
    assert {each.name for each in found if each.namespace == "crucible-executors"} == {
        f"executor-{number}" for number in (1, 2, 3)
    }
