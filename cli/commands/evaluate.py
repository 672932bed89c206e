"""``crucible evaluate``: one program through both legs."""

from pathlib import Path
from typing import Annotated

import typer

from cli import foreground
from cli.exits import Json, of_classification, show
from cli.programs import Language, Stdin, read_evaluation
from cli.sweeping import run_evaluation
from cli.terminal.report_view import render_comparison
from crucible.settings import Settings, load


def command(
    *,
    file: Annotated[Path, typer.Argument(help="The program.", metavar="FILE")],
    language: Language = None,
    stdin: Stdin = None,
    limits: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Its limits as corpora give them, such as '{\"memory_mb\": 64}'."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one program on both legs and compare what they saw.

    Exit 0 match, 1 mismatch, 2 bad input, 3 otherwise. Starts a local stack and stops it again unless
    one is up.

    Example: crucible evaluate solution.py --stdin input.txt
    """
    evaluation = read_evaluation(file, language, stdin, limits)
    found = foreground.run(run_evaluation(load(Settings), evaluation))
    show(found.model_dump(mode="json"), render_comparison(found), as_json=as_json)
    raise typer.Exit(of_classification(found.classification))
