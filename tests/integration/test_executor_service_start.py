"""Settings with which the executor service does not start."""

import os
import socket
from contextlib import closing

import pytest

from tests.support.executor_service import TOKEN, spawn


def refusal(**settings: str) -> tuple[int, list[str]]:
    """Exit code and lines on standard error of a service that does not start."""
    environment = os.environ | {
        f"CRUCIBLE_EXECUTOR_{name.upper()}": value for name, value in settings.items()
    }
    process = spawn(environment)
    with closing(process):
        _, stderr = process.communicate()
        return process.wait(), stderr.splitlines()


def test_without_a_token_it_does_not_start() -> None:
    code, (line,) = refusal(token="")
    assert code == 2
    assert "CRUCIBLE_EXECUTOR_TOKEN" in line


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, (line,) = refusal(token=TOKEN, port=str(port))
    assert code == 2
    assert f"127.0.0.1:{port}" in line
    assert "CRUCIBLE_EXECUTOR_PORT" in line


@pytest.mark.parametrize(
    ("settings", "code", "named"),
    [
        ({"slots": "0"}, 2, "CRUCIBLE_EXECUTOR_SLOTS"),
        ({"host": "256.256.256.256"}, 2, "CRUCIBLE_EXECUTOR_HOST"),
        ({"drain_s": "-1"}, 2, "CRUCIBLE_EXECUTOR_DRAIN_S"),
        ({"python": "/nowhere/python"}, 2, "CRUCIBLE_EXECUTOR_PYTHON"),
        ({"sandbox": "none"}, 2, "CRUCIBLE_EXECUTOR_SANDBOX"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_line(
    settings: dict[str, str], code: int, named: str
) -> None:
    ended, (line,) = refusal(token=TOKEN, port="0", **settings)
    assert ended == code
    assert named in line
