"""``crucible images``: what the Docker sandbox runs programs in."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.exits import Json, show
from cli.terminal.style import plain_table
from crucible.errors import InputError, PlatformError

_MIB = 1 << 20

app = typer.Typer(
    help="Images of the Docker sandbox: one a family of languages, built on this machine.",
    no_args_is_help=True,
)


@app.command("list")
def list_images(*, as_json: Json = False) -> None:
    """List the images, and whether each is built from what is installed now.

    Example: crucible images list
    """
    _print([document for document in _said("list") if "family" in document], as_json=as_json)


@app.command("build")
def build_images(
    *,
    families: Annotated[
        list[str] | None,
        typer.Argument(help="Families to build; all when none is named.", metavar="FAMILY..."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build the images, from Debian's packages; what has not changed is not built again.

    Takes some minutes the first time. Needs a Docker daemon, the network, and where the base image
    cannot be pulled, root and debootstrap.

    Example: crucible images build script native
    """
    found = []
    with Console(stderr=True).status("building") as status:
        for document in _said("build", *(families or [])):
            if "family" in document:
                found.append(document)
            else:
                status.update(f"building {document['building']}: {document['said'][:80]}")
    _print(found, as_json=as_json)


def _said(*words: str) -> Iterator[dict[str, Any]]:
    """What the builder says, line by line. One process away, as everything that knows a sandbox."""
    command = [sys.executable, "-m", "executors.images", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as builder:
        for line in builder.stdout or ():
            yield json.loads(line)
        said = (builder.stderr.read() if builder.stderr else "").strip().splitlines()
    if builder.returncode == 2:
        raise InputError(said[-1].partition("error: ")[2] or said[-1])
    if builder.returncode:
        raise PlatformError(said[-1] if said else f"the builder ended with {builder.returncode}")


def _print(found: list[dict[str, Any]], *, as_json: bool) -> None:
    table = plain_table("family", "languages", "image", "state", "MiB", numbers_from=4)
    for each in found:
        state = "built" if each["id"] else "not built"
        size = f"{each['size_bytes'] // _MIB}" if each["id"] else ""
        table.add_row(each["family"], ", ".join(each["languages"]), each["tag"], state, size)
    show({"images": found}, table, as_json=as_json)
