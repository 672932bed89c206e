"""The composition's files: valid, hardened, and saying the same as the local stack."""

import os
import re
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.requests import MAX_BODY_BYTES
from crucible import settings
from crucible.settings import Settings
from crucible.telemetry import settings as telemetry_settings
from deployments.images.__main__ import TARGETS, TOOLCHAINS
from deployments.stack.home import Home
from deployments.stack.plan import Plan, plan_stack
from tests.support.composition import OVERLAYS, ROOT, compose, files, make_secrets

QUEUE = "redis://legacy.example:6379/0"
OURS_ALONE = {"postgres", "controller"}
"""The local stack keeps its books in files, and has its controller in ``flows``."""

LOCATED = {
    "HOME",
    "PROFILES_PATH",
    "API_URL",
    "SERVER_API_HOST",
    "SERVER_API_PORT",
    "SERVER_UI_STATIC_DIRECTORY",
}
"""Settings of Prefect's that say where something is, which differs."""

BY_FILE = {"prefect": {"PREFECT_SERVER_DATABASE_CONNECTION_URL"}}
HOMELESS = {
    *("prefect", "executor-1", "executor-2", "executor-3"),
    *("legacy-worker-1", "legacy-worker-2", "celery-worker"),
}
"""Those that keep nothing in Crucible's home folder."""

SERVERS_OWN = {"CRUCIBLE_SECRETS_DIR"}


def resolved(*overlays: str) -> dict[str, Any]:
    """The files as docker-compose understands them; fails where it has anything to say of them."""
    done = compose(*files(*overlays), "config", CRUCIBLE_REDIS_URL=QUEUE)
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """All services by name."""
    found: dict[str, Any] = resolved()["services"]
    return found


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The local stack, as it would be started."""
    home = Home.at(tmp_path_factory.mktemp("stack"))
    home.create()
    return plan_stack(Settings(home=home.root), home)


@pytest.mark.parametrize("overlay", [(), *((path.stem,) for path in sorted(OVERLAYS.glob("*.yml")))])
def test_every_file_is_valid(overlay: tuple[str, ...]) -> None:
    assert resolved(*overlay)["services"]


def test_with_an_existing_queue_no_redis_is_started_and_everybody_uses_that_one() -> None:
    found = resolved("existing-queue")["services"]
    assert found["redis"]["profiles"] == ["own-queue"]
    assert not any("redis" in each.get("depends_on", ()) for each in found.values())
    told = {
        name for name, each in found.items() if each.get("environment", {}).get("CRUCIBLE_REDIS_URL") == QUEUE
    }
    using = {
        name
        for name, each in found.items()
        if "crucible_redis_url" in [secret["source"] for secret in each.get("secrets", [])]
    }
    assert told == using


def test_there_are_the_parts_of_the_local_stack(services: dict[str, Any], plan: Plan) -> None:
    assert set(services) == {spec.name for spec in plan.services} | OURS_ALONE


def test_each_is_started_as_in_the_local_stack(services: dict[str, Any], plan: Plan) -> None:
    ours = {spec.name: spec.argv[1:4] for spec in plan.services if "-m" in spec.argv}
    ours["controller"] = (*ours["flows"][:-1], "flows.controller")
    theirs = {name: tuple(services[name]["command"][1:]) for name in ours}
    assert theirs == ours


def test_each_is_told_what_it_is_told_in_the_local_stack(services: dict[str, Any], plan: Plan) -> None:
    for spec in plan.services:
        told = {name for name in spec.environment if _is_setting(name) and name not in os.environ}
        service = services[spec.name]
        by_file = {secret["source"].upper() for secret in service.get("secrets", [])}
        heard = set(service.get("environment", {})) | by_file | BY_FILE.get(spec.name, set())
        missing = told - heard - ({"CRUCIBLE_HOME"} if spec.name in HOMELESS else set())
        assert missing == set(), spec.name


def test_prefect_is_set_as_in_the_local_stack(services: dict[str, Any], plan: Plan) -> None:
    for spec in plan.services:
        heard = services[spec.name].get("environment", {})
        differ = {
            name: (value, heard[name])
            for name, value in spec.environment.items()
            if name.startswith("PREFECT_") and name.removeprefix("PREFECT_") not in LOCATED
            if name in heard and heard[name] != value
        }
        assert differ == {}, spec.name


def test_every_setting_is_one(services: dict[str, Any]) -> None:
    kinds = [
        kind
        for module in (settings, telemetry_settings)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, settings.BaseSettings)
        and kind is not settings.BaseSettings
    ]
    known = {
        f"{kind.model_config['env_prefix']}{name}".upper() for kind in kinds for name in kind.model_fields
    }
    template = (ROOT / "deployments" / "gateway" / "nginx.conf.template").read_text()
    known |= set(re.findall(r"CRUCIBLE_GATEWAY_[A-Z_]+", template)) | SERVERS_OWN
    named = chain.from_iterable(each.get("environment", {}) for each in services.values())
    assert {name for name in named if name.startswith("CRUCIBLE_")} - known == set()


def test_images_are_of_this_version(services: dict[str, Any]) -> None:
    assert {each["image"].partition(":")[2] for each in services.values()} == {version("crucible")}
    assert {each["image"].partition(":")[0] for each in services.values()} == set(TARGETS.values())
    assert {each["build"]["target"] for each in services.values()} == set(TARGETS)
    assert services["executor-1"]["build"]["args"]["TOOLCHAINS"] == TOOLCHAINS


def test_the_gateway_takes_as_much_as_the_api(services: dict[str, Any]) -> None:
    assert services["gateway"]["environment"]["CRUCIBLE_GATEWAY_MAX_BODY"] == str(MAX_BODY_BYTES)


def test_every_container_is_held_in(services: dict[str, Any]) -> None:
    for name, each in services.items():
        assert each["read_only"], name
        assert each["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in each["security_opt"], name
        assert each["restart"] == "unless-stopped", name
        assert {"mem_limit", "pids_limit", "healthcheck", "stop_grace_period"} <= set(each), name
        assert not {"privileged", "user", "network_mode", "pid"} & set(each), name
        assert ("cap_add" in each) == name.startswith("executor-"), name
        assert ("seccomp=unconfined" in each["security_opt"]) == name.startswith("executor-"), name


def test_only_the_gateway_has_a_port_and_that_on_loopback(services: dict[str, Any]) -> None:
    ports = {name: each["ports"] for name, each in services.items() if "ports" in each}
    assert ports == {"gateway": ["127.0.0.1:8080:8080/tcp"]}


@pytest.mark.parametrize("overlay", ["development", "docker-sandbox"])
def test_ports_are_on_loopback_in_every_file(overlay: str) -> None:
    ports = chain.from_iterable(each.get("ports", []) for each in resolved(overlay)["services"].values())
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_executors_are_on_a_network_that_leads_nowhere(services: dict[str, Any]) -> None:
    networks = resolved()["networks"]
    assert networks["executors"]["internal"]
    assert networks["databases"]["internal"]
    for name, each in services.items():
        if name.startswith("executor-"):
            assert set(each["networks"]) == {"executors"}
    data = {name for name, each in services.items() if {"databases", "queues"} & set(each["networks"])}
    assert "gateway" not in data


def test_only_executors_get_the_socket_of_docker() -> None:
    given = {
        name
        for name, each in resolved("docker-sandbox")["services"].items()
        if any("docker.sock" in volume for volume in each.get("volumes", []))
    }
    assert given == {"executor-1", "executor-2", "executor-3"}


def test_no_secret_is_in_the_environment(services: dict[str, Any]) -> None:
    for name, each in services.items():
        environment = each.get("environment", {})
        assert [key for key in environment if re.search(r"(PASSWORD|TOKEN|KEY|SECRET)$", key)] == [], name
        assert [key for key, value in environment.items() if re.search(r"://[^/]*@", str(value))] == [], name


def test_each_gets_only_the_secrets_it_uses(services: dict[str, Any]) -> None:
    given = {
        name: {secret["source"] for secret in each.get("secrets", [])} for name, each in services.items()
    }
    assert given["gateway"] == {"crucible_flower_password"}
    assert given["executor-1"] == given["executor-3"] == {"crucible_executor_token"}
    holders = {name for name, sources in given.items() if "crucible_api_key" in sources}
    assert holders == {"api"}


def test_secrets_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = make_secrets(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert make_secrets(folder) == made
    assert make_secrets(tmp_path / "others")["crucible_api_key"] != made["crucible_api_key"]
    named = {Path(each["file"]).name for each in resolved()["secrets"].values()}
    assert named == set(made)


def test_secrets_are_not_kept_in_the_repository() -> None:
    assert "/.secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def _is_setting(name: str) -> bool:
    return name.startswith(("CRUCIBLE_", "PREFECT_", "DO_NOT_TRACK"))
