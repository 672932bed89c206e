"""``crucible corpus record``: what came in, as a corpus."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.destination import whole_file
from cli.terminal.machine import print_json
from crucible.errors import InputError
from crucible.recorded import recorded_lines
from crucible.settings import Settings, load
from crucible.store import Store
from deployments.stack import Home

_MOST = 1000


def command(
    *,
    file: Annotated[Path, typer.Argument(help="Corpus file to write.", metavar="FILE")],
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most N programs, the newest first.")
    ] = _MOST,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the count as JSON.")] = False,
) -> None:
    """Write the newest evaluations that came in by the API as a corpus, each program once.

    They can be swept again, on this machine or another. Takes them from the store of CRUCIBLE_HOME or
    CRUCIBLE_DATABASE_URL, whether a stack is up or not. FILE holds whole programs: keep it like them.

    Example: crucible corpus record recorded.jsonl --limit 500
    """
    if file.exists() and not force:
        raise InputError(f"{file}: is there already; name another file, or replace it with --force")
    number = asyncio.run(_record(load(Settings), file, limit))
    if as_json:
        print_json({"recorded": number, "output": str(file)})
    else:
        typer.echo(f"{number} recorded", err=True)


async def _record(settings: Settings, file: Path, limit: int) -> int:
    """How many programs were written; raises ``InputError`` when there are none, and writes no file then."""
    store = await Store.open(settings.database_url or Home.at(settings.home).database_url)
    number = 0
    try:
        with Console(stderr=True).status("recording") as status, whole_file(file) as stream:
            async for line in recorded_lines(store, limit):
                stream.write(line.encode() + b"\n")
                number += 1
                status.update(f"{number:,} of at most {limit:,} recorded")
            if not number:
                raise InputError(
                    "no evaluation has come in by the API yet; submit one with POST /evaluations, or name the"
                    " store that has some with CRUCIBLE_HOME or CRUCIBLE_DATABASE_URL"
                )
    finally:
        await store.close()
    return number
