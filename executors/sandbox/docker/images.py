"""The images of the Docker sandbox: one a family of languages, built here, known by what went into them."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, BuildError, DockerException, ImageNotFound

from crucible.errors import SandboxUnavailable
from executors.sandbox.docker.containers import unreachable

BASE = "debian:bookworm-slim"
FAMILIES = {
    "script": "perl",
    "node": "nodejs",
    "native": "gcc g++ libc6-dev",
    "java": "default-jdk-headless",
    "go": "golang-go",
    "rust": "rustc gcc libc6-dev",
    "ruby": "ruby",
}
"""Debian's packages in each image, beside Python, which the launcher needs."""

_SILENT_S = 1800
"""How long a step of a build may say nothing: installing a toolchain does, on a busy machine for minutes."""

_SOURCES = Path(__file__).resolve().parents[3]
_INSIDE = (
    "executors/__init__.py",
    "executors/sandbox/__init__.py",
    "executors/sandbox/docker/__init__.py",
    "executors/sandbox/docker/launcher.py",
)
_LAUNCH = """import sys
sys.path.insert(0, "/crucible")
from executors.sandbox.docker.launcher import main
main()
"""

_ETC = {"etc/hosts": b"127.0.0.1 localhost crucible\n::1 localhost\n", "etc/resolv.conf": b""}
"""No resolver: whose it was on the machine that made the base image is no business of programs'."""


@dataclass(frozen=True)
class Image:
    """An image as it should be. ``id`` is null where it has not been built from just this."""

    family: str
    tag: str
    id: str | None
    size_bytes: int


def listed(client: docker.DockerClient) -> list[Image]:
    """All images, built or not. Raises ``SandboxUnavailable`` when the daemon does not answer."""
    try:
        base = _base_id(client)
        return [_image(client, family, base) for family in FAMILIES]
    except DockerException as error:
        raise unreachable(error) from error


def build(client: docker.DockerClient, family: str) -> Iterator[str]:
    """Build one image and yield what Docker says meanwhile, line by line.

    Raises ``SandboxUnavailable``, also where the base image is not there.
    """
    try:
        base = _base_id(client)
        if base is None:
            raise SandboxUnavailable(f"there is no image {BASE}; run `crucible images build`, which gets it")
        arguments = {"BASE": base, "PACKAGES": FAMILIES[family]}
        steps = client.api.build(
            fileobj=_context(),
            custom_context=True,
            tag=_tag(family, base),
            buildargs=arguments,
            network_mode="host",
            timeout=_SILENT_S,
            rm=True,
            forcerm=True,
            labels={"crucible.family": family},
            decode=True,
        )
        for step in steps:
            if "error" in step:
                raise SandboxUnavailable(f"the image of {family} could not be built: {step['error'].strip()}")
            yield step.get("stream", "").strip()
    except (APIError, BuildError) as error:
        raise SandboxUnavailable(f"the image of {family} could not be built: {error}") from error
    except DockerException as error:
        raise unreachable(error) from error


def _image(client: docker.DockerClient, family: str, base: str | None) -> Image:
    tag = _tag(family, base or BASE)
    try:
        found = client.images.get(tag)
    except ImageNotFound:
        return Image(family, tag, None, 0)
    return Image(family, tag, found.id, found.attrs["Size"])


def _base_id(client: docker.DockerClient) -> str | None:
    try:
        found: str | None = client.images.get(BASE).id
    except ImageNotFound:
        return None
    return found


def _tag(family: str, base: str) -> str:
    """A name that changes with anything that goes into the image."""
    recipe = hashlib.sha256(f"{base}\n{FAMILIES[family]}\n".encode())
    for name, content in _contents().items():
        recipe.update(f"{name}\n{len(content)}\n".encode() + content)
    return f"crucible/{family}:{recipe.hexdigest()[:12]}"


def _context() -> io.BytesIO:
    """What is sent to Docker: the Dockerfile and the launcher."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in _contents().items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    return packed


def _contents() -> dict[str, bytes]:
    watchers = (_SOURCES / "executors/sandbox/supervision").glob("*.py")
    inside = [_SOURCES / name for name in _INSIDE] + sorted(watchers)
    files: dict[str, Any] = {"Dockerfile": Path(__file__).with_name("Dockerfile").read_bytes()}
    files |= {"crucible/launch.py": _LAUNCH.encode(), **_ETC}
    return files | {f"crucible/{path.relative_to(_SOURCES)}": path.read_bytes() for path in inside}


_SUITE = "bookworm"
_MIRRORS = re.compile(r"^(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s*)?)(\S+)", re.MULTILINE)
_LEFT_OUT = ("./dev/", "./proc/", "./sys/", "./var/cache/apt/archives/", "./var/lib/apt/lists/")


def ensure(client: docker.DockerClient) -> str:
    """Have the base image in the daemon; says in a word how it came there.

    Raises ``SandboxUnavailable`` with the remedy where it cannot be had.
    """
    try:
        client.images.get(BASE)
    except ImageNotFound:
        pass
    else:
        return "present"
    try:
        client.images.pull(*BASE.split(":"))
    except DockerException as error:
        _bootstrap(client, str(error))
        return "made"
    return "pulled"


def _bootstrap(client: docker.DockerClient, why: str) -> None:
    """Make the image as Debian itself does, with the mirror that this machine is set to."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise SandboxUnavailable(
            f"{BASE} cannot be pulled ({why}); load it into Docker, or install debootstrap and build as root"
        )
    with tempfile.TemporaryDirectory(prefix="crucible-base-") as folder:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", _SUITE, folder, *_mirror()],  # noqa: S607 (where it is, differs)
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines()
            raise SandboxUnavailable(f"debootstrap failed: {said[-1] if said else done.returncode}")
        packed = Path(folder).with_suffix(".tar")
        try:
            _pack(Path(folder), packed)
            client.api.import_image_from_file(str(packed), *BASE.split(":"))
        finally:
            packed.unlink(missing_ok=True)


def _mirror() -> list[str]:
    """The mirror this machine's own apt uses; none where that is not told: debootstrap knows one."""
    sources = Path("/etc/apt")
    for path in (*sources.glob("sources.list.d/*.sources"), *sources.glob("sources.list*")):
        if path.is_file() and (found := _MIRRORS.search(path.read_text(encoding="utf-8"))):
            return [found[1]]
    return []


def _pack(folder: Path, packed: Path) -> None:
    with tarfile.open(packed, "w") as archive:
        archive.add(folder, ".", filter=_needed)


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.name.startswith(_LEFT_OUT) else entry
