"""A Docker daemon for tests: the one that answers, else one that all test processes share, and its images."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import docker
import psutil
import pytest
from docker.errors import DockerException

from executors.sandbox.docker import images
from executors.sandbox.docker.containers import connected
from tests.support.machine import locked, shared, shared_folder
from tests.support.waiting import patiently

_PATIENCE_S = 240
_BUILDS_AT_ONCE = 3
"""For most of the time a build waits for its packages."""


@contextmanager
def docker_daemon() -> Iterator[str]:
    """The value for DOCKER_HOST; skips the test where no daemon answers and none may be started."""
    if _answers():
        yield os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    elif os.geteuid() == 0 and shutil.which("dockerd"):
        with _shared_daemon() as address:
            yield address
    else:
        pytest.skip("no Docker daemon answers, and this user cannot start one")


def build_images(*families: str) -> None:
    """Have these images in the daemon of DOCKER_HOST; quick where nothing has changed."""
    have_base_image()
    first, *others = families
    with locked("sandbox-images"), ThreadPoolExecutor(_BUILDS_AT_ONCE) as builders:
        _build(first)  # alone, so that all others reuse its first layer
        for _ in builders.map(_build, others):
            pass


def have_base_image() -> None:
    """Have the image of which all others are made; of two processes one gets it."""
    with locked("base-image"), closing(connected()) as client:
        images.ensure(client)


def _build(family: str) -> None:
    with closing(connected()) as client:
        for _ in images.build(client, family):
            pass


def _answers() -> bool:
    try:
        client = connected()
    except (DockerException, OSError):
        return False
    client.close()
    return True


@contextmanager
def _shared_daemon() -> Iterator[str]:
    """The daemon of all test processes on this machine, whose images stay there: they are built once."""
    folder = shared_folder() / "docker"
    folder.mkdir(exist_ok=True)
    daemon = Daemon(folder)
    with shared("docker", daemon.start_for_all, daemon.stop_for_all):
        yield daemon.address


class Daemon:
    """A daemon of our own in ``folder``. Its images are there too with ``apart``, else where others are."""

    def __init__(self, folder: Path, *, apart: bool = False) -> None:
        self.address = f"unix://{folder}/docker.sock"
        self.folder = folder
        self._log = folder / "log"
        self._pid_file = folder / "pid"
        self._words = [
            *(
                "dockerd",
                "--host",
                self.address,
                "--exec-root",
                f"{folder}/exec",
                "--pidfile",
                str(self._pid_file),
            ),
            *("--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
            *(("--data-root", f"{folder}/data") if apart else ()),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start_for_all(self) -> None:
        """Returns when it answers, which it may do already. It does not end with this process."""
        if _answers_at(self.address):
            return
        self._pid_file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            detached = (shutil.which("setsid") or "setsid", "--fork")
            subprocess.run([*detached, *self._words], stdout=log, stderr=log, check=True)
        _wait_for(self.address, self._log)

    def stop_for_all(self) -> None:
        """Ends it in good order, whoever has started it, and all containers."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(self._pid_file.read_text()))
            process.terminate()
            patiently(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
        self._unmount()

    def start(self) -> None:
        """Returns when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log, start_new_session=True)
        _wait_for(self.address, self._log, self._process)

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


def _wait_for(address: str, log: Path, daemon: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not _answers_at(address):
        assert daemon is None or daemon.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.1)


def _answers_at(address: str) -> bool:
    try:
        # Docker's client forgets to close a socket that nobody listens to.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(address.removeprefix("unix://"))
        docker.DockerClient(address).close()
    except (DockerException, OSError):
        return False
    return True
