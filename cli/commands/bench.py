"""``crucible bench``: Crucible beside the bare limit and a Celery chord."""

import asyncio
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.terminal.machine import print_json
from cli.terminal.style import heading, plain_table
from crucible.errors import InputError
from crucible.settings import Settings, load

_SOURCE_TREE = Path(__file__).resolve().parents[2]


def command(
    quick: Annotated[
        bool, typer.Option("--quick", help="A short form: two minutes, rougher figures.")
    ] = False,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Document in which to replace the figures between its markers."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """Measure the bare limit, a Celery chord and a sweep side by side, on the same programs.

    Starts a stack of its own and stops it again. Exit 0 when everything was measured, whatever the figures.

    Example: crucible bench --quick --json
    """
    _find_bench()
    bench, tables, document = (import_module(f"bench.{name}") for name in ("run", "tables", "document"))
    if write is not None:
        document.check(write)
    screen = Console(stderr=True)
    with screen.status("") as status:
        found = asyncio.run(bench.run(load(Settings), bench.QUICK if quick else bench.FULL, status.update))
    grids = tables.grids(found.figures, found.ratios)
    if write is not None:
        document.rewrite(write, found.facts, grids)
    if as_json:
        print_json(asdict(found))
        return
    for grid in grids:
        Console().print(heading(grid.title))
        table = plain_table(*grid.columns)
        for row in grid.rows:
            table.add_row(*row)
        Console().print(table)


def _find_bench() -> None:
    """Make the benchmark importable, which is not installed; raises ``InputError`` without a source tree."""
    if not (_SOURCE_TREE / "bench").is_dir():
        raise InputError(
            "crucible bench needs Crucible's source tree; run it from a checkout, as make bench does"
        )
    sys.path.append(str(_SOURCE_TREE))
