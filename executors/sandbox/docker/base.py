"""Getting the base image: pulled where a registry can be reached, else made of Debian's packages."""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from crucible.errors import SandboxUnavailable
from executors.sandbox.docker.images import BASE

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
