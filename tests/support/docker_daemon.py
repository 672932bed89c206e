"""A Docker daemon for tests: the one that answers, else one of our own, and the sandbox's images in it."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from executors.sandbox.docker import base, images

_PATIENCE_S = 60


@contextmanager
def docker_daemon() -> Iterator[str]:
    """The value for DOCKER_HOST; skips the test where no daemon answers and none may be started."""
    if _answers():
        yield os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    elif os.geteuid() == 0 and shutil.which("dockerd"):
        with _own_daemon() as address:
            yield address
    else:
        pytest.skip("no Docker daemon answers, and this user cannot start one")


def build_images(*families: str) -> None:
    """Have these images in the daemon of DOCKER_HOST; quick where nothing has changed."""
    client = docker.from_env()
    try:
        base.ensure(client)
        for family in families:
            for _ in images.build(client, family):
                pass
    finally:
        client.close()


def _answers() -> bool:
    try:
        client = docker.from_env()
    except DockerException:
        return False
    client.close()
    return True


@contextmanager
def _own_daemon() -> Iterator[str]:
    """A daemon with a socket of its own. Its images stay on this machine, so that they are built once."""
    with tempfile.TemporaryDirectory(prefix="crucible-docker-") as folder:
        address = f"unix://{folder}/docker.sock"
        words = [
            *("dockerd", "--host", address, "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"),
            *("--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
        ]
        with Path(folder, "log").open("wb") as log:
            daemon = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for(daemon, address, Path(folder, "log"))
            yield address
        finally:
            daemon.terminate()
            daemon.wait(_PATIENCE_S)


def _wait_for(daemon: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            docker.DockerClient(address).close()
        except DockerException:
            assert daemon.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        else:
            return
