"""``python -m bench.drill``: practise the migration, and print how long each way back took."""

import asyncio
import json
import sys
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Annotated

import typer
from rich.console import Console

from bench.drill.scenario import FULL, SHORT, run
from crucible.errors import CrucibleError


def main(
    *,
    short: Annotated[
        bool, typer.Option("--short", help="One fault a stage; only the first way ahead is on evidence.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Take a stack from legacy to Celery under traffic, and put faults into executor-3 at every stage.

    Exit 0 when nothing was lost and no answer was wrong once a detector had fired; else 1.
    """
    folder = Path(mkdtemp(prefix="crucible-drill-"))
    progress = Console(stderr=True)
    try:
        found = asyncio.run(run(SHORT if short else FULL, folder, progress.print))
    except CrucibleError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(4) from None
    finally:
        rmtree(folder, ignore_errors=True)
    if as_json:
        sys.stdout.write(json.dumps(found.document(), default=str) + "\n")
    else:
        Console().print(found.table())
        Console().print(found.summary())
    raise typer.Exit(0 if found.ok else 1)


if __name__ == "__main__":
    typer.run(main)
