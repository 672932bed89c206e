"""Builds and lists the Docker sandbox's images: ``python -m executors.images`` behind ``crucible images``.

Prints JSON Lines: for ``list`` one image each, for ``build`` what is going on, and the images at the end.
``base`` gets the image that all others are made of, and says how it came there.
"""

import argparse
import dataclasses
import json
import sys

import docker
from docker.errors import DockerException

from crucible.errors import SandboxUnavailable
from executors.languages import LANGUAGES
from executors.sandbox.docker import images
from executors.sandbox.docker.containers import connected, unreachable

_PLATFORM_FAULT = 4


def main() -> int:
    """Exit 0, or 4 with one line on standard error where Docker or an image cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m executors.images")
    parser.add_argument("wish", choices=["base", "build", "list"])
    parser.add_argument("families", nargs="*")
    wish = parser.parse_args()
    unknown = sorted(set(wish.families) - set(images.FAMILIES))
    if unknown:
        parser.error(f"there is no family {unknown[0]!r}; there are {', '.join(images.FAMILIES)}")
    try:
        client = connected()
        if wish.wish == "base":
            _have_base(client)
            return 0
        if wish.wish == "build":
            _build(client, wish.families or list(images.FAMILIES))
        for image in images.listed(client):
            languages = sorted(each.name for each in LANGUAGES.values() if each.family == image.family)
            _tell({"languages": languages, **dataclasses.asdict(image)})
    except SandboxUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return _PLATFORM_FAULT
    except (DockerException, OSError) as error:
        sys.stderr.write(f"{unreachable(error)}\n")
        return _PLATFORM_FAULT
    return 0


def _have_base(client: docker.DockerClient) -> None:
    _tell({"building": "base", "said": images.ensure(client)})


def _build(client: docker.DockerClient, families: list[str]) -> None:
    _have_base(client)
    for family in families:
        for said in images.build(client, family):
            if said:
                _tell({"building": family, "said": said})


def _tell(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
