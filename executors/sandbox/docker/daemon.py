"""The local Docker daemon."""

import os
import socket

import docker

from crucible.errors import SandboxUnavailable

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
