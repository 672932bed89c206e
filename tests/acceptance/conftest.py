"""The images of the composition, built once, and the composition, brought up once."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from deployments.images.__main__ import TARGETS
from executors.sandbox.docker.containers import connected
from tests.support.composition import ROOT, VERSION, Composition, composition
from tests.support.docker_daemon import have_base_image
from tests.support.machine import locked

BUILT = "acceptance"
"""The tag that stays, so that the next run need not build again what has not changed."""


@pytest.fixture(scope="session")
def images(daemon: str) -> Iterator[dict[str, str]]:
    """The tags of all images by the names of their stages, built as `make images` builds them.

    Without toolchains, which take long and are Debian's: what is run is in Python, Bash and Perl.
    """
    command = (sys.executable, "-m", "deployments.images", "--version", BUILT, "--toolchains", "")
    have_base_image()
    client = connected()
    with locked("composition-images"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{daemon}: {done.stdout[-4000:]}{done.stderr}"
        for name in TARGETS.values():
            client.images.get(f"{name}:{BUILT}").tag(name, VERSION)
    tags = {target: f"{name}:{VERSION}" for target, name in TARGETS.items()}
    yield tags
    for tag in tags.values():
        client.images.remove(tag)
    client.close()


@pytest.fixture(scope="module")
def running(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """The composition, up and healthy."""
    assert images
    with composition(tmp_path_factory.mktemp("composition") / "secrets") as made:
        yield made
