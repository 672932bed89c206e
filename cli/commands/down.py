"""``crucible down``: end the local stack."""

import asyncio
from typing import Annotated

import typer

from cli.terminal.machine import print_json
from crucible.settings import Settings, load
from deployments.stack import Home, stop_stack

_TIMEOUT_S = 90.0


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Stop the local stack and wait until nothing of it is left. Exit 0, also when none runs.

    Example: crucible up --detach; crucible status; crucible down
    """
    home = Home.at(load(Settings).home)
    pid = asyncio.run(stop_stack(home, _TIMEOUT_S))
    if as_json:
        print_json({"stopped": pid is not None, "pid": pid})
    else:
        typer.echo(f"not running ({home.root})" if pid is None else f"stopped ({home.root})")
