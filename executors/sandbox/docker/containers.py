"""The local Docker daemon, and the containers of one executor on it."""

import asyncio
import itertools
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound

from crucible.errors import SandboxUnavailable
from executors.sandbox.docker.attached import Attached, LauncherLostError, attach
from executors.sandbox.docker.profile import host_config, masked_paths

_DEFAULT = "unix:///var/run/docker.sock"
_SCHEME = "unix://"


def connected() -> docker.DockerClient:
    """A client of the daemon that DOCKER_HOST names. Raises ``OSError`` or docker's own if none answers."""
    path = socket_path()
    # Docker's client forgets to close a socket that nobody listens to.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)
    return docker.DockerClient(_SCHEME + path)


def socket_path() -> str:
    """Where the daemon listens. Raises ``OSError`` where that is no local socket."""
    address = os.environ.get("DOCKER_HOST") or _DEFAULT
    if not address.startswith(_SCHEME):
        raise OSError(f"{address!r} is no local socket; set DOCKER_HOST to unix://PATH")
    return address.removeprefix(_SCHEME)


def unreachable(error: Exception) -> SandboxUnavailable:
    """The fault of a daemon that does not answer."""
    return SandboxUnavailable(f"the Docker daemon does not answer ({error}); start it, or set DOCKER_HOST")


FAULTS = (DockerException, OSError, LauncherLostError, TimeoutError)
"""What goes wrong between us and Docker: never a program's doing."""

_MIB = 1 << 20
_LAUNCHER_BYTES = 64 * _MIB
"""Room for a launcher to start in. What it takes it says itself; what a program may use is set then."""
_RUNTIME_PROCESSES = 64  # threads of the runtime that starts the launcher count too, while they last
_LISTENS_WITHIN_S = 60


@dataclass(frozen=True)
class Kind:
    """What a container is made for; only one of the same kind can take a program."""

    image_id: str
    disk_mb: int


@dataclass
class Container:
    """A container whose launcher waits for an order.

    The launcher uses ``used_bytes`` of memory itself, 0 where it cannot tell. The container is held to
    ``memory_bytes`` and ``processes``.
    """

    id: str
    kind: Kind
    user: int
    launcher: Attached
    used_bytes: int
    memory_bytes: int = 0
    processes: int = 0


class Containers:
    """Makes and removes containers, which carry ``labels``.

    Users are numbered from ``first_user`` on; no two containers alive share one.
    """

    def __init__(
        self, client: docker.DockerClient, labels: dict[str, str], first_user: int, runtime: str | None
    ) -> None:
        self._api = client.api
        self._socket = socket_path()
        self._labels = labels
        self._runtime = runtime
        self._users: Iterator[int] = itertools.count(first_user)
        self._free_users: list[int] = []

    async def start(self, kind: Kind) -> Container:
        """A new container whose launcher listens. Raises ``FAULTS``."""
        user = self._free_users.pop() if self._free_users else next(self._users)
        try:
            container_id = await asyncio.to_thread(self._create, kind, user)
        except BaseException:
            self._free_users.append(user)
            raise
        launcher: Attached | None = None
        try:
            async with asyncio.timeout(_LISTENS_WITHIN_S):
                launcher = await attach(self._socket, container_id)
                await asyncio.to_thread(self._api.start, container_id)
                header, _ = await launcher.receive()
        except BaseException:
            if launcher is not None:
                await launcher.close()
            await self._removed(container_id, user)
            raise
        return Container(container_id, kind, user, launcher, header["used_bytes"])

    async def limit(self, container: Container, memory_bytes: int, processes: int) -> None:
        """Set what its control group holds it to, from now on. Raises ``FAULTS``."""
        await asyncio.to_thread(self._limit, container.id, memory_bytes, processes)
        container.memory_bytes, container.processes = memory_bytes, processes

    async def was_out_of_memory(self, container: Container) -> bool:
        """Whether its first process went for want of memory. Raises ``FAULTS``."""
        state = await asyncio.to_thread(self._api.inspect_container, container.id)
        return bool(state["State"]["OOMKilled"])

    async def remove(self, container: Container) -> None:
        """Kill it and everything in it; without effect if it is gone. Raises ``FAULTS``."""
        await container.launcher.close()
        await self._removed(container.id, container.user)

    async def remove_by_id(self, container_id: str) -> None:
        """Remove a container that was not started here. Raises ``FAULTS``."""
        await asyncio.to_thread(self._remove, container_id)

    async def labelled(self, label: str) -> list[dict[str, Any]]:
        """Containers that carry ``label`` (a name, or name=value), ended ones too, as Docker lists them."""
        listed: list[dict[str, Any]] = await asyncio.to_thread(
            self._api.containers, all=True, filters={"label": label}
        )
        return listed

    async def _removed(self, container_id: str, user: int) -> None:
        await asyncio.to_thread(self._remove, container_id)
        self._free_users.append(user)  # not if that has failed: its processes may still be there

    def _create(self, kind: Kind, user: int) -> str:
        config = host_config(user, kind.disk_mb, _LAUNCHER_BYTES, _RUNTIME_PROCESSES)
        host = self._api.create_host_config(**config, runtime=self._runtime)
        host["MaskedPaths"] = masked_paths()
        created = self._api.create_container(
            kind.image_id,
            user=f"{user}:{user}",
            hostname="crucible",
            working_dir="/",
            labels=self._labels,
            stdin_open=True,
            tty=False,
            # A network namespace with loopback alone, made by the runtime. The mode "none" would bring in
            # the daemon's network code as well, which costs time and locks up where many come and go at once.
            network_disabled=True,
            host_config=host,
        )
        container_id: str = created["Id"]
        return container_id

    def _limit(self, container_id: str, memory_bytes: int, processes: int) -> None:
        api = self._api
        body = {"Memory": memory_bytes, "MemorySwap": memory_bytes, "PidsLimit": processes}
        # The client's own method for this has no word for processes.
        answer = api.post(
            f"{api.base_url}/v{api.api_version}/containers/{container_id}/update",
            json=body,
            timeout=api.timeout,
        )
        if not answer.ok:
            raise APIError(f"limits were refused: {answer.text.strip()}")

    def _remove(self, container_id: str) -> None:
        try:
            self._api.remove_container(container_id, force=True, v=True)
        except NotFound:
            return
