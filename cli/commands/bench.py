"""``crucible bench``: Crucible beside the bare limit and a Celery chord."""

import asyncio
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType

from cli.exits import Json, show
from cli.terminal.style import heading, plain_table
from crucible.errors import InputError
from crucible.settings import Settings, load

_KINDS = {
    "figures": "bench.run",
    "sandboxes": "bench.sandboxes",
    "front": "bench.front",
    "store": "bench.store_scale",
    "scaling": "bench.scaling",
}
"""Which module measures what, by the names that markers in a document have."""

_SOURCE_TREE = Path(__file__).resolve().parents[2]


def command(
    quick: Annotated[
        bool, typer.Option("--quick", help="A short form: two minutes, rougher figures.")
    ] = False,
    sandboxes: Annotated[
        bool, typer.Option("--sandboxes", help="Measure what each sandbox adds to one program, nothing else.")
    ] = False,
    front: Annotated[
        bool, typer.Option("--front", help="Measure the API and the pages, nothing else.")
    ] = False,
    store: Annotated[
        bool,
        typer.Option("--store", help="Measure a large store against a small one on Postgres, nothing else."),
    ] = False,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="Measure 1, 2 and 4 worker sets beside the capacity model.")
    ] = False,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Document in which to replace the figures between its markers."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the bare limit, a Celery chord and a sweep side by side, on the same programs.

    Starts a stack of its own and stops it again; --sandboxes needs a Docker daemon with the images built,
    --store PostgreSQL, of which it starts a server of its own, and some 15 GiB of disk, --front wrk,
    --scaling what the extra "dev" installs.
    Exit 0 when everything was measured, whatever the figures.

    Example: crucible bench --quick --json
    """
    _find_bench()
    tables = import_module("bench.tables")
    kind = _kind(sandboxes=sandboxes, front=front, store=store, scaling=scaling)
    if write is not None:
        tables.check(write, kind)
    with Console(stderr=True).status("") as status:
        measuring = import_module(_KINDS[kind]).report(load(Settings), quick=quick, say=status.update)
        found = asyncio.run(measuring)
    if write is not None:
        tables.rewrite(write, kind, found)
    show({"facts": found.facts, **found.figures}, Group(*_tables(found.grids)), as_json=as_json)


def _kind(**asked: bool) -> str:
    """What is measured."""
    kinds = [name for name, wanted in asked.items() if wanted]
    if len(kinds) > 1:
        raise InputError(
            "each kind is measured by itself; give one of --sandboxes, --front, --store and --scaling"
        )
    return kinds[0] if kinds else "figures"


def _tables(grids: list[Any]) -> Iterator[RenderableType]:
    for grid in grids:
        yield heading(grid.title)
        table = plain_table(*grid.columns)
        for row in grid.rows:
            table.add_row(*row)
        yield table


def _find_bench() -> None:
    """Make the benchmark importable, which is not installed; raises ``InputError`` without a source tree."""
    if not (_SOURCE_TREE / "bench").is_dir():
        raise InputError(
            "crucible bench needs Crucible's source tree; run it from a checkout, as make bench does"
        )
    sys.path.append(str(_SOURCE_TREE))
