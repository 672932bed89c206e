"""``python -m deployments.images``: builds the composition's images in the daemon that DOCKER_HOST names.

From a source tree. Python's packages are fetched on this machine, as its pip is set up, and checked against
``requirements-runtime.lock``: so a build needs neither certificates nor an index of its own.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import docker
from docker.errors import DockerException

from crucible.errors import PlatformError

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {
    "gateway": "crucible-gateway",
    "postgres": "crucible-postgres",
    "redis": "crucible-redis",
    "crucible": "crucible",
    "executor": "crucible-executor",
}
"""The image's name for each stage that is one."""

_KEPT = {"build": "crucible-build"}
"""A stage with a name, so that its layers are there for the next build."""
_LABEL = "crucible.image"

_DOCKERFILE = "deployments/images/Dockerfile"
_PINNED = re.compile(r"\$\{BASE:-(\S+)\}")
_MADE_HERE = "debian:bookworm-slim"
_PYTHON = "3.11.2"
"""Debian's, for which the packages are locked too."""

TOOLCHAINS = "gcc g++ libc6-dev nodejs ruby"
"""Debian's packages for programs, where nothing else is asked for; the same as in the composition."""
_PLATFORM_FAULT = 4
_SILENT_S = 1800
"""How long a step of a build may say nothing: installing all packages does, on a busy machine for minutes."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit 0, or 4 with one line on standard error where Docker, a package or the base cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m deployments.images")
    parser.add_argument("--version", default=version("crucible"), help="tag of the images")
    parser.add_argument("--base", default="", help="another base image than the Dockerfile's")
    parser.add_argument(
        "--toolchains",
        default=TOOLCHAINS,
        help="Debian packages with which programs are compiled or run in the executors' process sandbox",
    )
    wish = parser.parse_args(words)
    try:
        _fetch_packages()
        client = docker.from_env()
        arguments = {"BASE": wish.base or _base(client), "TOOLCHAINS": wish.toolchains}
        for target, name in (TARGETS | _KEPT).items():
            for said in _build(client, target, f"{name}:{wish.version}", arguments):
                sys.stdout.write(f"{target}: {said}\n")
        # Those whose names were just given to others.
        client.images.prune({"dangling": True, "label": _LABEL})
    except (PlatformError, DockerException) as error:
        sys.stderr.write(f"{error}\n")
        return _PLATFORM_FAULT
    return 0


def _fetch_packages() -> None:
    """Have every package in build/wheels, where the Dockerfile looks; made for its Python, not ours."""
    lock, wheels = ROOT / "requirements-runtime.lock", ROOT / "build" / "wheels"
    fetched = wheels / "fetched.lock"
    if fetched.exists() and fetched.read_bytes() == lock.read_bytes():
        return
    shutil.rmtree(wheels, ignore_errors=True)
    words = ("download", "--quiet", "--disable-pip-version-check", "--require-hashes")
    kind = ("--only-binary", ":all:", "--python-version", _PYTHON)
    _run(sys.executable, "-m", "pip", *words, *kind, "--dest", str(wheels), "--requirement", str(lock))
    shutil.copyfile(lock, fetched)


def _base(client: docker.DockerClient) -> str:
    """The pinned base image; where it cannot be pulled, the one that the sandbox's images are made of."""
    pinned = _PINNED.search((ROOT / _DOCKERFILE).read_text(encoding="utf-8"))
    if pinned is None:
        raise PlatformError(f"{_DOCKERFILE} names no base image")
    try:
        client.images.pull(pinned[1])
    except DockerException as error:
        sys.stdout.write(f"{pinned[1]} cannot be pulled ({error}); {_MADE_HERE} takes its place\n")
        _run(sys.executable, "-m", "executors.images", "base")
        return _MADE_HERE
    return pinned[1]


def _build(client: docker.DockerClient, target: str, tag: str, arguments: dict[str, str]) -> Iterator[str]:
    """Build one image and yield what Docker says meanwhile, line by line."""
    steps = client.api.build(
        path=str(ROOT),
        dockerfile=_DOCKERFILE,
        target=target,
        tag=tag,
        buildargs=arguments,
        network_mode="host",
        timeout=_SILENT_S,
        rm=True,
        forcerm=True,
        decode=True,
    )
    for step in steps:
        if "error" in step:
            raise PlatformError(f"the image {tag} could not be built: {step['error'].strip()}")
        if said := step.get("stream", "").strip():
            yield said


def _run(*command: str) -> None:
    if subprocess.run(command, check=False, cwd=ROOT).returncode:
        raise PlatformError(f"{' '.join(command[:5])} ... has failed; see above")


if __name__ == "__main__":
    sys.exit(main())
