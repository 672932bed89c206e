"""What processes are told in a cluster: the same as in the local stack, in variables that somebody reads."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from api.options import options_from_environment as api_options
from crucible.settings import ExecutorSettings, Settings, load
from deployments.stack.environment import prefect_client_environment, prefect_server_environment
from deployments.stack.servers import valkey_service
from deployments.stack.service import ServiceSpec
from tasks.worker_process import options_from_environment as worker_options
from tests.support.kubernetes.local import OF_OTHERS, clean, local, ours
from tests.support.kubernetes.rendering import EXAMPLE, FOLDER, Cluster, rendered
from tests.support.kubernetes.secret import told
from tests.support.kubernetes.workloads import Workload, workloads
from tests.support.settings import setting_kinds

__all__ = ["local"]

HOME = Path("/var/lib/crucible")
_TEMPLATE = FOLDER.parent / "gateway" / "nginx.conf.template"


@pytest.fixture(params=["postgres", "example"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The base with a Postgres, and the example of an overlay."""
    return rendered(overlay=EXAMPLE) if request.param == "example" else rendered(request.param)


def known_variables() -> Iterator[str]:
    """Every variable that a class of settings reads."""
    for kind in setting_kinds():
        prefix = kind.model_config["env_prefix"]
        yield from (f"{prefix}{name.upper()}" for name in kind.model_fields)


def of_gateway() -> set[str]:
    """What the template of nginx's configuration takes, but what its image makes of Flower's password."""
    found = set(re.findall(r"\$\{(CRUCIBLE_GATEWAY_[A-Z_]+)\}", _TEMPLATE.read_text()))
    return found - {"CRUCIBLE_GATEWAY_FLOWER_AUTHORIZATION"}


def test_every_variable_is_one_that_somebody_reads(cluster: Cluster) -> None:
    # Prefect's are compared with those of the local stack below.
    known = {*known_variables(), *of_gateway(), *OF_OTHERS}
    for workload in workloads(cluster).values():
        unknown = {name for name in workload.environment if not name.startswith("PREFECT_")} - known
        assert unknown == set(), workload.name


def test_the_parts_are_those_of_the_local_stack_and_run_the_same(
    cluster: Cluster, local: dict[str, ServiceSpec]
) -> None:
    found = workloads(cluster)
    assert set(found) == set(local) | {"postgres", "controller"}
    for name, service in local.items():
        assert found[name].module == module_of(service), name
    assert "--with-controller" in local["flows"].argv
    assert found["controller"].module == "flows.controller"


def module_of(service: ServiceSpec) -> str | None:
    """The Python module that a service runs."""
    return service.argv[service.argv.index("-m") + 1] if "-m" in service.argv else None


def test_each_is_told_whatever_it_is_told_in_the_local_stack(
    cluster: Cluster, local: dict[str, ServiceSpec]
) -> None:
    for name, workload in workloads(cluster).items():
        if name in set(local) - {"prefect"}:  # that is compared as a whole below
            missing = set(filter(ours, local[name].environment)) - set(workload.environment)
            assert missing == set(), name
    assert set(workloads(cluster)["gateway"].environment) >= of_gateway()


def test_prefect_is_set_as_in_the_local_stack(cluster: Cluster) -> None:
    found = workloads(cluster)
    url = "http://prefect:4200/prefect/api"
    for name in ("api", "flows", "controller"):
        environment = found[name].environment
        assert prefect_client_environment(HOME, url).items() <= environment.items(), name
        assert environment["CRUCIBLE_PREFECT_API_URL"] == url
    server = prefect_server_environment(HOME, 4200) | {
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_HOST": "0.0.0.0",
    }
    del server["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    environment = dict(found["prefect"].environment)
    del environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"], environment["HOME"]
    assert environment == server


def test_the_redis_servers_keep_data_as_in_the_local_stack(cluster: Cluster, tmp_path: Path) -> None:
    valkey_service("redis", tmp_path, 6379, "secret")
    local = set((tmp_path / "valkey.conf").read_text().splitlines())
    own = {line for line in local if line.startswith(("bind", "dir", "requirepass"))}
    (name,) = (each["metadata"]["name"] for each in cluster.of_kind("ConfigMap") if "valkey" in str(each))
    assert local - own < set(cluster.get("ConfigMap", name)["data"]["valkey.conf"].splitlines())


def test_every_process_takes_what_it_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, workload in workloads(cluster).items():
        with monkeypatch.context() as environment:
            clean(environment)
            for variable, value in told(workload).items():
                environment.setenv(variable, value)
            if workload.module:
                check_taken(name, workload)


def check_taken(name: str, workload: Workload) -> None:
    """Raises ``SettingsError`` as the process itself would."""
    for kind in setting_kinds():
        load(kind)
    (port,) = workload.ports.values()
    if name.startswith("executor-"):
        executor = load(ExecutorSettings)
        assert (executor.name, executor.host, executor.port) == (name, "0.0.0.0", port)
        assert executor.token.get_secret_value()
    elif name in {"api", "flows", "controller"}:
        with temporary_settings({PREFECT_API_URL: str(workload.environment["PREFECT_API_URL"])}):
            options = api_options() if name == "api" else None
        assert options is None or (options.host, options.port) == ("0.0.0.0", port)
    elif name == "flower":
        flower = load(Settings)
        assert (flower.flower_host, flower.flower_port) == ("0.0.0.0", port)
    elif name.endswith(("worker", "worker-1", "worker-2")):
        assert worker_options().name.startswith(name)
        assert workload.environment["CRUCIBLE_METRICS_HOST"] == "0.0.0.0"
        assert workload.environment["CRUCIBLE_METRICS_PORT"] == str(port)
