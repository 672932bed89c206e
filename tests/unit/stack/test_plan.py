"""Which services are planned for which settings, and what each of them is told."""

import socket
import subprocess
import sys
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from stat import S_IMODE

import pytest
from pydantic import SecretStr

from api.requests import MAX_BODY_BYTES
from crucible.errors import SettingsError
from crucible.settings import Settings
from deployments.stack.environment import prefect_client_environment
from deployments.stack.home import Home, ServiceState
from deployments.stack.parts import without_password
from deployments.stack.plan import Plan, plan_passing_stack, plan_stack
from deployments.stack.service import ServiceSpec, choose_ports

EVERYTHING = {
    "prefect",
    "redis",
    "celery-redis",
    "executor-1",
    "executor-2",
    "executor-3",
    "legacy-worker-1",
    "legacy-worker-2",
    "celery-worker",
    "api",
}
LASTING = {"flows", "flower", "gateway"}
"""Those of a stack that stays."""


def planned(settings: Settings) -> Plan:
    home = Home.at(settings.home)
    home.create()
    return plan_stack(settings, home)


def service(plan: Plan, name: str) -> ServiceSpec:
    return next(spec for spec in plan.services if spec.name == name)


def test_with_nothing_set_everything_is_started(tmp_path: Path) -> None:
    plan = planned(Settings(home=tmp_path))
    assert {spec.name for spec in plan.services} == EVERYTHING | LASTING
    assert plan.externals == ()


def test_a_stack_for_one_command_has_nothing_that_waits_for_the_night(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.create()
    passing = plan_passing_stack(Settings(home=tmp_path), home)
    assert {spec.name for spec in passing.services} == EVERYTHING
    assert {each.name for each in passing.state.services} == EVERYTHING
    assert (passing.state.gateway_url, passing.state.flower_url) == (None, None)
    assert "CRUCIBLE_CELERY_EVENTS" not in service(passing, "celery-worker").environment


def test_flows_link_to_the_api_where_browsers_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(Settings(home=tmp_path))
    assert service(plan, "flows").environment["CRUCIBLE_API_URL"] == f"{plan.state.gateway_url}/api"
    assert service(plan, "flows").environment["CRUCIBLE_GATEWAY_URL"] == plan.state.gateway_url
    monkeypatch.setenv("CRUCIBLE_API_URL", "https://crucible.example")
    told = service(planned(Settings(home=tmp_path)), "flows").environment
    assert told["CRUCIBLE_API_URL"] == "https://crucible.example"


@pytest.fixture
def no_nginx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.stack.plan.find_nginx", lambda: None)


@pytest.mark.usefixtures("no_nginx")
def test_without_nginx_there_is_no_gateway_and_all_else_is_there(tmp_path: Path) -> None:
    plan = planned(Settings(home=tmp_path))
    assert {spec.name for spec in plan.services} == EVERYTHING | {"flows", "flower"}
    assert plan.state.gateway_url is None
    assert plan.state.flower_url == service(plan, "flower").url
    assert service(plan, "flower").environment["CRUCIBLE_FLOWER_PASSWORD"] == ""
    assert service(plan, "flows").environment["CRUCIBLE_API_URL"] == plan.state.api_url
    assert "CRUCIBLE_GATEWAY_URL" not in service(plan, "flows").environment


def test_the_gateway_is_where_it_is_wished_and_takes_as_much_as_the_api(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    plan = planned(Settings(home=tmp_path, gateway_port=free))
    assert plan.state.gateway_url == f"http://127.0.0.1:{free}"
    assert plan.state.flower_url == f"http://127.0.0.1:{free}/flower"
    told = (tmp_path / "gateway" / "nginx.conf").read_text()
    assert f"listen 127.0.0.1:{free};" in told
    assert f"client_max_body_size {MAX_BODY_BYTES};" in told
    assert "CRUCIBLE_" not in told


def test_what_flower_asks_for_is_known_to_the_gateway_alone(tmp_path: Path) -> None:
    plan = planned(Settings(home=tmp_path))
    password = service(plan, "flower").environment["CRUCIBLE_FLOWER_PASSWORD"]
    basic = b64encode(f"gateway:{password}".encode()).decode()
    configuration = tmp_path / "gateway" / "nginx.conf"
    assert f'"Basic {basic}"' in configuration.read_text()
    assert S_IMODE(configuration.stat().st_mode) == 0o600
    told = [spec.name for spec in plan.services if password in spec.environment.values()]
    assert told == ["flower"]


def test_a_prefect_server_elsewhere_is_led_to_and_not_served(tmp_path: Path) -> None:
    planned(Settings(home=tmp_path, prefect_api_url="https://prefect.example/api"))
    assert 'set $elsewhere "https://prefect.example";' in (tmp_path / "gateway" / "nginx.conf").read_text()


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("CRUCIBLE_SCHEDULE_TIMEZONE", "Mars", "CRUCIBLE_SCHEDULE_TIMEZONE"),
        ("CRUCIBLE_WEBHOOK_URL", "http://receiver", "CRUCIBLE_WEBHOOK_SECRET"),
        ("CRUCIBLE_RETENTION_DAYS", "0", "CRUCIBLE_RETENTION_DAYS"),
        ("CRUCIBLE_WEBHOOK_URL", "receiver", "CRUCIBLE_WEBHOOK_URL"),
    ],
)
def test_a_setting_that_would_fail_at_night_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{named}="):
        planned(Settings(home=tmp_path))


def test_a_part_named_by_url_is_not_started_but_used(tmp_path: Path) -> None:
    redis, executor = "redis://:hunter2@redis.example:6379/0", "http://executor.example:8100/"
    plan = planned(Settings(home=tmp_path, redis_url=redis, executor_3_url=executor))
    assert {spec.name for spec in plan.services} == EVERYTHING - {"redis", "executor-3"} | LASTING
    assert plan.state.redis_url == redis
    assert service(plan, "celery-worker").environment["CRUCIBLE_CELERY_EXECUTOR_URL"] == executor.rstrip("/")
    external = [each for each in plan.state.services if each.state is ServiceState.EXTERNAL]
    assert {(each.name, each.url) for each in external} == {
        ("redis", "redis://redis.example:6379/0"),
        ("executor-3", "http://executor.example:8100"),
    }


def test_each_legacy_worker_prefers_another_executor(tmp_path: Path) -> None:
    plan = planned(Settings(home=tmp_path))
    first, second, _ = plan.state.executor_urls
    variable = "CRUCIBLE_LEGACY_EXECUTOR_URLS"
    assert service(plan, "legacy-worker-1").environment[variable] == f"{first},{second}"
    assert service(plan, "legacy-worker-2").environment[variable] == f"{second},{first}"


def test_more_of_each_kind_takes_nothing_but_the_number(tmp_path: Path) -> None:
    plan = planned(Settings(home=tmp_path, worker_sets=3, api_processes=2, flow_processes=2))
    sets = {
        f"{name}-set-{number}"
        for name in EVERYTHING
        if "executor" in name or "worker" in name
        for number in (2, 3)
    }
    assert {spec.name for spec in plan.services} == EVERYTHING | LASTING | sets | {"api-2", "flows-2"}
    urls = [spec.url for spec in plan.services if spec.url]
    assert len(set(urls)) == len(urls)
    first, second, third = (service(plan, f"executor-{number}-set-2").url for number in (1, 2, 3))
    told = [service(plan, f"{name}-set-2").environment for name in ("legacy-worker-2", "celery-worker")]
    assert told[0]["CRUCIBLE_LEGACY_EXECUTOR_URLS"] == f"{second},{first}"
    assert told[1]["CRUCIBLE_CELERY_EXECUTOR_URL"] == third
    configuration = (tmp_path / "gateway" / "nginx.conf").read_text()
    apis = [service(plan, name).url.removeprefix("http://") for name in ("api", "api-2")]
    assert f"upstream api {{ server {apis[0]}; server {apis[1]};" in configuration


def test_what_is_set_for_one_executor_reaches_that_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRUCIBLE_EXECUTOR_3_TZ", "Asia/Tokyo")
    monkeypatch.setenv("CRUCIBLE_EXECUTOR_SLOTS", "7")
    plan = planned(Settings(home=tmp_path))
    told = {
        name: service(plan, name).environment for name in ("executor-1", "executor-3", "celery-worker", "api")
    }
    assert told["executor-3"]["CRUCIBLE_EXECUTOR_TZ"] == "Asia/Tokyo"
    assert told["executor-3"]["CRUCIBLE_EXECUTOR_SLOTS"] == "7"
    assert [name for name, environment in told.items() if "CRUCIBLE_EXECUTOR_TZ" in environment] == [
        "executor-3"
    ]


def test_the_users_prefect_settings_do_not_reach_the_stacks_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "of the cloud")
    monkeypatch.setenv("PREFECT_PROFILE", "mine")
    plan = planned(Settings(home=tmp_path))
    for name in ("prefect", "api"):
        environment = service(plan, name).environment
        assert "PREFECT_API_KEY" not in environment
        assert environment["PREFECT_PROFILE"] == "local"
        assert environment["PREFECT_HOME"] == str(tmp_path / "prefect")


def test_a_prefect_server_elsewhere_is_used_with_the_users_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "of that server")
    plan = planned(Settings(home=tmp_path, prefect_api_url="https://prefect.example/api"))
    environment = service(plan, "api").environment
    assert environment["PREFECT_API_URL"] == "https://prefect.example/api"
    assert environment["PREFECT_API_KEY"] == "of that server"
    assert plan.state.prefect_url == "https://prefect.example"


def test_secrets_that_are_set_are_used_and_not_written_down(tmp_path: Path) -> None:
    plan = planned(Settings(home=tmp_path, api_key=SecretStr("my key"), executor_token=SecretStr("my token")))
    assert (plan.state.api_key, plan.state.executor_token) == ("my key", "my token")
    assert service(plan, "api").environment["CRUCIBLE_API_KEY"] == "my key"
    assert service(plan, "executor-1").environment["CRUCIBLE_EXECUTOR_TOKEN"] == "my token"
    assert "my " not in (tmp_path / "secrets.json").read_text()


def test_no_secret_is_on_a_command_line_or_in_a_shown_url(tmp_path: Path) -> None:
    plan = planned(Settings(home=tmp_path))
    shown = " ".join(
        [*(word for spec in plan.services for word in spec.argv), *map(str, plan.state.services)]
    )
    password = plan.state.redis_url.partition("@")[0].rpartition(":")[2]
    for secret in (password, plan.state.api_key, plan.state.executor_token):
        assert secret not in shown


def test_a_port_in_use_is_refused_naming_the_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"^CRUCIBLE_PREFECT_PORT={port}: .* in use; .*$"):
            planned(Settings(home=tmp_path, prefect_port=port))


def test_a_port_that_is_set_is_kept_and_all_others_differ() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    ports = choose_ports({"A_PORT": 0, "B_PORT": free, **{f"C_{number}": 0 for number in range(50)}})
    assert ports["B_PORT"] == free
    assert len(set(ports.values())) == len(ports)


CHOOSE = """
import sys
from deployments.stack.service import choose_ports
print(*choose_ports({str(number): 0 for number in range(400)}).values(), flush=True)
sys.stdin.read()
"""


def test_processes_that_choose_at_once_choose_different_ports() -> None:
    words, pipe = (sys.executable, "-c", CHOOSE), subprocess.PIPE
    with ExitStack() as alive:
        processes = [
            alive.enter_context(subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)) for _ in range(2)
        ]
        first, second = ({*each.stdout.readline().split()} for each in processes if each.stdout)
        for each in processes:
            each.communicate()
    assert len(first) == len(second) == 400
    assert first & second == set()


def test_one_port_set_for_two_parts_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(SettingsError, match="B_PORT"):
        choose_ports({"A_PORT": free, "B_PORT": free})


def test_urls_are_shown_without_password() -> None:
    assert without_password("redis://:p@ss@host:1/0") == "redis://host:1/0"
    assert without_password("http://host:1/api") == "http://host:1/api"


def test_flow_hosts_talk_to_the_given_server_and_to_nobody_else(tmp_path: Path) -> None:
    environment = prefect_client_environment(tmp_path, "http://127.0.0.1:1/api")
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"
