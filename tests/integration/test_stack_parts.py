"""Parts of the stack as real processes: Valkey's durability, Prefect's server, parts elsewhere."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from crucible.errors import ServiceUnavailable, SettingsError
from crucible.settings import Settings
from deployments.stack import running_stack
from deployments.stack.home import Home
from deployments.stack.plan import Plan, plan_stack
from tests.support.valkey import Valkey, free_port, valkey

__all__ = ["valkey"]

PREFECT_STARTS_WITHIN_S = 240.0


def only(*names: str):
    """Plans those of the stack's services alone."""

    def plan(settings: Settings, home: Home) -> Plan:
        whole = plan_stack(settings, home)
        services = tuple(spec for spec in whole.services if spec.name in names)
        statuses = tuple(each for each in whole.state.services if each.name in names)
        state = whole.state.model_copy(update={"services": statuses})
        return Plan(services, whole.externals, state)

    return plan


async def test_what_redis_was_told_is_there_after_a_restart(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    async with running_stack(settings, make_plan=only("redis")) as state:
        with redis.Redis.from_url(state.redis_url) as client:
            client.set("kept", "yes")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
    async with running_stack(settings, make_plan=only("redis")) as state:
        with redis.Redis.from_url(state.redis_url) as client:
            assert client.get("kept") == b"yes"


async def test_redis_wants_its_password_and_listens_on_loopback_alone(tmp_path: Path) -> None:
    async with running_stack(Settings(home=tmp_path), make_plan=only("redis")) as state:
        host, port = state.redis_url.rpartition("@")[2].removesuffix("/0").split(":")
        with redis.Redis(host, int(port)) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        addresses = psutil.Process(state.services[0].pid).net_connections("inet")
        assert {each.laddr.ip for each in addresses} == {"127.0.0.1"}


@pytest.mark.stack
async def test_prefects_server_is_one_process_with_its_ui_and_files_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, cache = tmp_path / "user", tmp_path / "cache"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    # A number of workers meant for other servers must not make two of this one.
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    settings = Settings(home=tmp_path / "one", start_timeout_s=PREFECT_STARTS_WITHIN_S)
    async with running_stack(settings, make_plan=only("prefect")) as state:
        server = psutil.Process(state.services[0].pid)
        assert server.children(recursive=True) == []
        html = {"accept": "text/html"}
        async with httpx.AsyncClient(follow_redirects=True, headers=html, timeout=60) as client:
            assert "<html" in (await client.get(state.prefect_url)).text
            found = await client.post(f"{state.prefect_api_url}/flow_runs/filter", json={})
            assert found.json() == []
    assert not (user / ".prefect").exists()
    (kept,) = (cache / "crucible").iterdir()
    assert version_of(kept) == version_of(tmp_path / "one" / "prefect" / "prefect.db")

    second = Settings(home=tmp_path / "two", start_timeout_s=PREFECT_STARTS_WITHIN_S)
    async with running_stack(second, make_plan=only("prefect")) as state:
        os.kill(state.services[0].pid or 0, signal.SIGKILL)
    assert version_of(tmp_path / "two" / "prefect" / "prefect.db") == version_of(kept)


async def test_a_part_elsewhere_that_answers_is_used(tmp_path: Path, valkey: Valkey) -> None:
    settings = Settings(home=tmp_path, redis_url=valkey.url)
    async with running_stack(settings, make_plan=only("celery-redis")) as state:
        assert state.redis_url == valkey.url


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("redis_url", "redis://:hunter2@127.0.0.1:{port}/0"),
        ("celery_redis_url", "redis://:hunter2@127.0.0.1:{port}/0"),
        ("prefect_api_url", "http://127.0.0.1:{port}/api"),
        ("executor_2_url", "http://127.0.0.1:{port}"),
    ],
)
async def test_a_part_elsewhere_that_is_not_there_is_named_with_the_remedy(
    tmp_path: Path, setting: str, url: str
) -> None:
    settings = Settings(home=tmp_path, **{setting: url.format(port=free_port())})
    with pytest.raises(ServiceUnavailable) as caught:
        async with running_stack(settings, make_plan=only()):
            pass
    said = str(caught.value)
    assert said.startswith(f"CRUCIBLE_{setting.upper()}=")
    assert f"unset CRUCIBLE_{setting.upper()}" in said
    assert "hunter2" not in said
    assert "\n" not in said


async def test_a_part_elsewhere_whose_address_is_none_is_a_wrong_setting(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, redis_url="no url at all")
    with pytest.raises(SettingsError, match="CRUCIBLE_REDIS_URL=no url at all: must begin with redis://"):
        async with running_stack(settings, make_plan=only()):
            pass


def version_of(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(version)
