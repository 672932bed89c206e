"""Which services are planned for which settings, and what each of them is told."""

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from crucible.errors import SettingsError
from crucible.settings import Settings
from deployments.stack.home import Home
from deployments.stack.parts import without_password
from deployments.stack.plan import Plan, plan_passing_stack, plan_stack
from deployments.stack.ports import choose_ports
from deployments.stack.prefect_environment import prefect_client_environment
from deployments.stack.service import ServiceSpec
from deployments.stack.state import ServiceState

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
    "flows",
}


def planned(settings: Settings) -> Plan:
    home = Home.at(settings.home)
    home.create()
    return plan_stack(settings, home)


def service(plan: Plan, name: str) -> ServiceSpec:
    return next(spec for spec in plan.services if spec.name == name)


def test_with_nothing_set_everything_is_started(tmp_path: Path) -> None:
    plan = planned(Settings(home=tmp_path))
    assert {spec.name for spec in plan.services} == EVERYTHING
    assert plan.externals == ()


def test_a_stack_for_one_command_has_nothing_that_waits_for_the_night(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.create()
    passing = plan_passing_stack(Settings(home=tmp_path), home)
    assert {spec.name for spec in passing.services} == EVERYTHING - {"flows"}
    assert {each.name for each in passing.state.services} == EVERYTHING - {"flows"}


def test_flows_link_to_the_api_where_browsers_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(Settings(home=tmp_path))
    assert service(plan, "flows").environment["CRUCIBLE_API_URL"] == plan.state.api_url
    monkeypatch.setenv("CRUCIBLE_API_URL", "https://crucible.example")
    told = service(planned(Settings(home=tmp_path)), "flows").environment
    assert told["CRUCIBLE_API_URL"] == "https://crucible.example"


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("CRUCIBLE_SCHEDULE_TIMEZONE", "Mars", "CRUCIBLE_SCHEDULE_TIMEZONE"),
        ("CRUCIBLE_WEBHOOK_URL", "http://receiver", "CRUCIBLE_WEBHOOK_SECRET"),
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
    assert {spec.name for spec in plan.services} == EVERYTHING - {"redis", "executor-3"}
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
