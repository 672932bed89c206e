"""The composition on a real Docker daemon, by the command that people type."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from docker.models.containers import Container

from executors.sandbox.docker.containers import connected, socket_path
from tests.support.stack_times import starting
from tests.support.valkey import free_port
from tests.support.waiting import pauses

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "deployments" / "compose"
PATIENCE_S = 600
VERSION = f"acceptance-{os.getpid()}"
"""The tag of this process's images: another run may build from another tree meanwhile."""
_QUICK = "tests/acceptance/quick-checks.yml"


def compose(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``docker-compose`` at the root of the tree; skips the test where there is none."""
    command = shutil.which("docker-compose")
    if command is None:
        pytest.skip("docker-compose is not installed")
    return subprocess.run(
        [command, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
    )


def files(*overlays: str) -> tuple[str, ...]:
    """The words that name the composition's files."""
    names = ("docker-compose.yml", *(f"deployments/compose/{name}.yml" for name in overlays))
    return tuple(word for name in names for word in ("-f", name))


def make_secrets(folder: Path) -> dict[str, str]:
    """All secrets, made in ``folder`` as `make secrets` makes them, by their names."""
    subprocess.run([OVERLAYS / "make-secrets", folder], check=True)
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


class Composition:
    """One that is up, of a project called ``name``."""

    def __init__(
        self, name: str, secrets: dict[str, str], environment: dict[str, str], *overlays: str
    ) -> None:
        self.name, self.secrets, self.environment = name, secrets, environment
        self._files = (*files(*overlays), "-f", _QUICK)
        self.docker = connected()
        self.url = f"http://127.0.0.1:{environment['CRUCIBLE_GATEWAY_PORT']}"
        headers = {"Authorization": f"Bearer {secrets['crucible_api_key']}"}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of docker-compose on this project; fails the test where it fails."""
        done = compose("-p", self.name, *self._files, *words, **self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def containers(self) -> dict[str, Container]:
        """All containers by their services' names, one of each."""
        return {service_of(each): each for each in self.all_containers()}

    def all_containers(self) -> list[Container]:
        """All of them, also where a service has several."""
        mine = {"label": f"com.docker.compose.project={self.name}"}
        found: list[Container] = self.docker.containers.list(all=True, filters=mine)
        return found

    def health(self) -> dict[str, str]:
        """How each container says that it is."""
        return {each.name: _health(each.attrs) for each in self.all_containers()}

    def scale(self, **numbers: int) -> None:
        """Have so many containers of these services, ``_`` for ``-``; returns once all are healthy."""
        words = [f"--scale={name.replace('_', '-')}={number}" for name, number in numbers.items()]
        self.run("up", "--detach", "--no-build", *words)
        self.wait(lambda: set(self.health().values()) == {"healthy"}, "not all come up")

    def kill(self, service: str) -> int:
        """Have a container's first process die, as if it had by itself; returns its number.

        ``docker kill`` would be an operator's wish, after which nothing is started again.
        """
        first = self.first_process(service)
        os.kill(first, signal.SIGKILL)
        return first

    def first_process(self, service: str) -> int:
        """The number that a container's first process has on this machine, once it has one.

        It has none, and Docker says 0, while it is started again; to signal 0 is to signal ourselves.
        """
        identity = self.containers()[service].id
        found: list[int] = []

        def is_there() -> bool:
            found.append(self.docker.api.inspect_container(identity)["State"]["Pid"])
            return found[-1] > 0

        self.wait(is_there, f"{service} does not run")
        return found[-1]

    def recovered(self, service: str, killed: int) -> None:
        """Waits until another process is healthy in that container."""
        identity = self.containers()[service].id

        def is_back() -> bool:
            attributes = self.docker.api.inspect_container(identity)
            return attributes["State"]["Pid"] not in (0, killed) and _health(attributes) == "healthy"

        self.wait(is_back, f"{service} is not back")

    def wait(self, condition: Any, otherwise: str) -> None:
        """Returns once ``condition`` holds; fails with what the containers have said when it does not."""
        deadline = time.monotonic() + PATIENCE_S
        between = pauses(0.2, 2.0)  # a look at all containers is a hundred questions to Docker
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"{otherwise}\n{self.health()}\n{self.run('logs', '--tail', '20').stdout}")
            time.sleep(next(between))

    def left(self) -> list[Any]:
        """Containers, networks and volumes of this project."""
        mine = {"label": f"com.docker.compose.project={self.name}"}
        kinds = self.docker.networks, self.docker.volumes
        return [*self.containers().values(), *(each for kind in kinds for each in kind.list(filters=mine))]

    def down(self) -> None:
        """Stops it, and removes all that was its own."""
        self.run("down", "--volumes", "--timeout", "20")


@contextmanager
def composition(folder: Path, *services: str, overlays: tuple[str, ...] = ()) -> Iterator[Composition]:
    """``services``, by default all, up and healthy, with secrets in ``folder``; down at the end."""
    secrets = make_secrets(folder)
    environment = {
        "CRUCIBLE_SECRETS": str(folder),
        "CRUCIBLE_VERSION": VERSION,
        "CRUCIBLE_GATEWAY_PORT": str(free_port()),
        "CRUCIBLE_DOCKER_SOCKET": socket_path(),
    }
    name = "-".join(("crucible", *overlays, str(os.getpid())))
    made = Composition(name, secrets, environment, *overlays)
    try:
        with starting(name):
            made.run("up", "--detach", "--no-build", *services)
            made.wait(lambda: set(made.health().values()) == {"healthy"}, "it does not come up")
        yield made
    finally:
        made.down()
        made.client.close()
        made.docker.close()


def service_of(container: Container) -> str:
    """The name of the service that a container is of."""
    name: str = container.labels["com.docker.compose.service"]
    return name


def _health(attributes: dict[str, Any]) -> str:
    state = attributes["State"]
    return str(state.get("Health", {}).get("Status", state["Status"]))
