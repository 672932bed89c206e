"""Results on standard output, for people or for machines, and nothing else there."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def show(
    document: Mapping[str, Any], view: RenderableType, *, as_json: bool, soft_wrap: bool = False
) -> None:
    """A command's result: ``document`` as JSON, else ``view``, of which a string is printed as it is.

    Lines of a soft-wrapped view are never broken, so that what is in them can be copied.
    """
    if as_json:
        print_json(document)
    elif not isinstance(view, str):
        Console().print(view, soft_wrap=soft_wrap)
    elif view:
        typer.echo(view)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object: no wrapping, no colours, in any locale."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
