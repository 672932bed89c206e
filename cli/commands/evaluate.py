"""``crucible evaluate``: one program through both legs."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.exits import of_classification
from cli.programs import language_of, read_text
from cli.terminal.evaluate_view import render_comparison
from crucible.models import Comparison, Evaluation
from crucible.settings import Settings, load


def command(
    file: Annotated[Path, typer.Argument(help="The program.")],
    language: Annotated[
        str | None, typer.Option(help="Its language; told by the file's ending when not given.")
    ] = None,
    stdin: Annotated[Path | None, typer.Option(help="File to give it as standard input.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Run one program on both legs and compare what they saw.

    Exit 0 match, 1 mismatch, 2 bad input, 3 otherwise. Starts a local stack and stops it again unless
    one is up.
    """
    evaluation = Evaluation(
        id=file.name,
        language=language_of(file, language),
        code=read_text(file),
        stdin=read_text(stdin) if stdin else "",
    )
    # Prefect takes seconds to import and reads its environment while it does.
    sweeping = import_module("cli.sweeping")
    found: Comparison = asyncio.run(sweeping.run_evaluation(load(Settings), evaluation))
    if as_json:
        Console().print_json(found.model_dump_json())
    else:
        Console().print(render_comparison(found))
    raise typer.Exit(of_classification(found.classification))
