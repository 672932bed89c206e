"""``crucible bench``: Crucible beside the bare limit and a Celery chord."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.output import print_json
from cli.terminal.style import heading, plain_table
from crucible.errors import InputError
from crucible.settings import Settings, load

Say = Callable[[str], None]
Found = tuple[dict[str, str], list[Any], dict[str, Any]]
"""Facts of the machine, tables, and all figures."""
Kind = tuple[Callable[[bool, Say], Found], str]
"""What measures, and what the markers of its figures in a document are called."""

_QUICK_ROUNDS, _ROUNDS = 20, 100
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
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """Measure the bare limit, a Celery chord and a sweep side by side, on the same programs.

    Starts a stack of its own and stops it again; --sandboxes needs a Docker daemon with the images built,
    --store PostgreSQL, of which it starts a server of its own, and some 15 GiB of disk, --front wrk,
    --scaling what the extra "dev" installs.
    Exit 0 when everything was measured, whatever the figures.

    Example: crucible bench --quick --json
    """
    _find_bench()
    document = import_module("bench.document")
    measure, marks = _kind(sandboxes=sandboxes, front=front, store=store, scaling=scaling)
    place = getattr(document, marks)
    if write is not None:
        document.check(write, place)
    with Console(stderr=True).status("") as status:
        facts, grids, figures = measure(quick, status.update)
    if write is not None:
        document.rewrite(write, place, facts, grids)
    if as_json:
        print_json(figures)
        return
    for grid in grids:
        Console().print(heading(grid.title))
        table = plain_table(*grid.columns)
        for row in grid.rows:
            table.add_row(*row)
        Console().print(table)


def _kind(*, sandboxes: bool, front: bool, store: bool, scaling: bool) -> Kind:
    """What is measured, and the name of the place in the document that it is written to."""
    asked = [
        kind
        for wanted, kind in (
            (sandboxes, (_sandboxes, "SANDBOXES")),
            (front, (_front, "FRONT")),
            (store, (_store, "STORE")),
            (scaling, (_scaling, "SCALING")),
        )
        if wanted
    ]
    if len(asked) > 1:
        raise InputError(
            "each kind is measured by itself; give one of --sandboxes, --front, --store and --scaling"
        )
    return asked[0] if asked else (_evaluations, "FIGURES")


def _scaling(quick: bool, say: Say) -> Found:
    bench = import_module("bench.scaling")
    facts, found = asyncio.run(bench.run(load(Settings), bench.QUICK if quick else bench.FULL, say))
    return facts, bench.grids(found), {"facts": facts, **asdict(found)}


def _evaluations(quick: bool, say: Say) -> Found:
    bench, tables = import_module("bench.run"), import_module("bench.tables")
    found = asyncio.run(bench.run(load(Settings), bench.QUICK if quick else bench.FULL, say))
    return found.facts, tables.grids(found.figures, found.ratios), asdict(found)


def _front(quick: bool, say: Say) -> Found:
    bench = import_module("bench.front")
    facts, found = asyncio.run(bench.run(load(Settings), bench.QUICK if quick else bench.FULL, say))
    ratios = [asdict(each) for each in bench.ratios(found)]
    return facts, bench.grids(found), {"facts": facts, **asdict(found), "ratios": ratios}


def _store(quick: bool, say: Say) -> Found:
    bench = import_module("bench.store_scale")
    facts, found = asyncio.run(bench.run(bench.QUICK if quick else bench.FULL, say))
    info = found.info.model_dump(mode="json")
    ratios = [asdict(each) for each in bench.ratios(found)]
    paces = {"closed": found.closed, "let_go": found.let_go}
    figures = {"facts": facts, "seconds": found.seconds, "store": info, "paces": paces, "ratios": ratios}
    return facts, bench.grids(found), figures


def _sandboxes(quick: bool, say: Say) -> Found:
    bench, machine = import_module("bench.sandboxes"), import_module("bench.machine")
    facts = machine.describe_machine()
    say("running one program in each sandbox, by turns")
    ways = bench.measure(_QUICK_ROUNDS if quick else _ROUNDS)
    figures = {"facts": facts, "ways": {name: asdict(way) for name, way in ways.items()}}
    return facts, bench.grids(ways), figures | {"ratios": [asdict(each) for each in bench.ratios(ways)]}


def _find_bench() -> None:
    """Make the benchmark importable, which is not installed; raises ``InputError`` without a source tree."""
    if not (_SOURCE_TREE / "bench").is_dir():
        raise InputError(
            "crucible bench needs Crucible's source tree; run it from a checkout, as make bench does"
        )
    sys.path.append(str(_SOURCE_TREE))
