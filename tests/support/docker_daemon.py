"""A Docker daemon for tests: the one that answers, else one of our own, and the sandbox's images in it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import psutil
import pytest
from docker.errors import DockerException

from executors.sandbox.docker import base, images
from executors.sandbox.docker.daemon import connected

_PATIENCE_S = 120


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
    client = connected()
    try:
        base.ensure(client)
        for family in families:
            for _ in images.build(client, family):
                pass
    finally:
        client.close()


def _answers() -> bool:
    try:
        client = connected()
    except (DockerException, OSError):
        return False
    client.close()
    return True


@contextmanager
def _own_daemon() -> Iterator[str]:
    """A daemon with a socket of its own. Its images stay on this machine, so that they are built once."""
    with tempfile.TemporaryDirectory(prefix="crucible-docker-", ignore_cleanup_errors=True) as folder:
        daemon = Daemon(Path(folder))
        daemon.start()
        try:
            yield daemon.address
        finally:
            daemon.stop()


class Daemon:
    """A daemon of our own in ``folder``. Its images are there too with ``apart``, else where others are."""

    def __init__(self, folder: Path, *, apart: bool = False) -> None:
        self.address = f"unix://{folder}/docker.sock"
        self.folder = folder
        self._log = folder / "log"
        self._words = [
            *(
                "dockerd",
                "--host",
                self.address,
                "--exec-root",
                f"{folder}/exec",
                "--pidfile",
                f"{folder}/pid",
            ),
            *("--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
            *(("--data-root", f"{folder}/data") if apart else ()),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log, start_new_session=True)
        _wait_for(self._process, self.address, self._log)

    def stop(self) -> None:
        """Ends it in good order, and all containers."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_S)
            self._process = None
        self._unmount()

    def kill(self) -> None:
        """Ends it, and the containerd it has started, without a chance to do anything."""
        assert self._process is not None
        started = psutil.Process(self._process.pid).children()
        self._process.kill()
        self._process.wait()
        self._process = None
        for each in started:
            with suppress(psutil.NoSuchProcess):  # it is to end with the daemon, by the kernel's hand
                each.kill()
        psutil.wait_procs(started, _PATIENCE_S)

    def _unmount(self) -> None:
        """After a build with the host's network, the daemon leaves that namespace mounted in its folder.

        A mount lets go a moment after its last user.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while below := self._mounted():
            assert time.monotonic() < deadline, below
            for each in sorted(below, reverse=True):
                subprocess.run([shutil.which("umount") or "umount", each], check=False, capture_output=True)
            time.sleep(0.1)

    def _mounted(self) -> list[str]:
        every = [each.mountpoint for each in psutil.disk_partitions(all=True)]
        return [each for each in every if Path(each).is_relative_to(self.folder)]


def _wait_for(daemon: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(address.removeprefix("unix://"))
            docker.DockerClient(address).close()
        except (DockerException, OSError):
            assert daemon.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        else:
            return
