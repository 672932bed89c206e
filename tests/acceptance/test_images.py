"""What is inside the images: nobody who is root, no compiler, no secret, nothing left of the build."""

import json
import re
from collections.abc import Iterator

import docker
import pytest

from deployments.images.__main__ import TARGETS
from executors.sandbox.docker.containers import connected
from tests.support.composition import ROOT

BEGINS_AS_ROOT = {"executor"}
"""It gives root up before anything is served: see ``test_composition``, which looks at its processes."""

COMPILERS = "gcc cc c99 g++ c++ clang tcc as ld cpp make rustc go javac pip pip3 curl wget"

LOOK = f"""
told() {{ printf '%s:' "$1"; tr '\\n' ' '; echo; }}
for name in {COMPILERS}; do command -v $name; done | told tools
find / -xdev -perm /6000 2>/dev/null | told setuid
grep -rlsIE -- '^-----BEGIN ([A-Z]+ )*PRIVATE KEY-----' /etc /home /opt /root /srv /usr /var | told keys
find / -xdev -name pip.conf -o -name .netrc -o -name .pgpass -o -name .env 2>/dev/null | told settings
find ~root/.cache /var/cache/apt /var/lib/apt/lists /wheels /source -type f -size +0 2>/dev/null | told left
find / -xdev -user 10001 ! -path /var/lib/crucible 2>/dev/null | told writable
"""


@pytest.fixture(scope="module")
def client(daemon: str) -> Iterator[docker.DockerClient]:
    """The daemon that has the images."""
    assert daemon
    made = connected()
    yield made
    made.close()


@pytest.fixture(params=TARGETS)
def image(request: pytest.FixtureRequest, images: dict[str, str]) -> tuple[str, str]:
    """The stage and the tag of one image."""
    target: str = request.param
    return target, images[target]


def test_nobody_in_it_is_root(image: tuple[str, str], client: docker.DockerClient) -> None:
    target, tag = image
    user = client.images.get(tag).attrs["Config"]["User"]
    assert user == ("0:0" if target in BEGINS_AS_ROOT else "10001:10001")


def test_there_is_no_compiler_no_key_and_nothing_left_of_the_build(
    image: tuple[str, str], client: docker.DockerClient
) -> None:
    said = client.containers.run(
        image[1],
        ["-c", LOOK],
        entrypoint="/bin/sh",
        user="0:0",
        network_disabled=True,
        network_mode="none",
        read_only=True,
        remove=True,
    )
    found = dict(line.split(":", 1) for line in said.decode().splitlines())
    assert {what: names.split() for what, names in found.items() if names.strip()} == {}
    assert set(found) == {"tools", "setuid", "keys", "settings", "left", "writable"}


def test_nothing_of_the_building_machine_is_told(image: tuple[str, str], client: docker.DockerClient) -> None:
    found = client.images.get(image[1])
    told = json.dumps([found.attrs["Config"], found.history()])
    assert not [word for word in ("PASSWORD", "TOKEN", "SECRET", "://") if word in told]


def test_the_base_is_pinned_by_tag_and_digest() -> None:
    # Of what is built here the base may be another one, where no registry is reached.
    dockerfile = (ROOT / "deployments" / "images" / "Dockerfile").read_text()
    assert re.search(r"\$\{BASE:-debian:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}\}", dockerfile)
