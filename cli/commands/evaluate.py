"""``crucible evaluate``: one program through both legs."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import foreground
from cli.exits import of_classification
from cli.programs import read_evaluation
from cli.terminal.evaluate_view import render_comparison
from cli.terminal.machine import print_json
from crucible.models import Comparison
from crucible.settings import Settings, load


def command(
    *,
    file: Annotated[Path, typer.Argument(help="The program.", metavar="FILE")],
    language: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its language; told by the file's ending when not given."),
    ] = None,
    stdin: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to give it as standard input.")
    ] = None,
    limits: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Its limits as corpora give them, such as '{\"memory_mb\": 64}'."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Run one program on both legs and compare what they saw.

    Exit 0 match, 1 mismatch, 2 bad input, 3 otherwise. Starts a local stack and stops it again unless
    one is up.

    Example: crucible evaluate solution.py --stdin input.txt
    """
    evaluation = read_evaluation(file, language, stdin, limits)
    # Prefect takes seconds to import and reads its environment while it does.
    sweeping = import_module("cli.sweeping")
    found: Comparison = foreground.run(sweeping.run_evaluation(load(Settings), evaluation))
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        Console().print(render_comparison(found))
    raise typer.Exit(of_classification(found.classification))
