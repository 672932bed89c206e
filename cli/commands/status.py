"""``crucible status``: what runs, and where."""

from typing import Annotated

import typer
from rich.console import Console

from cli.terminal.machine import print_json
from cli.terminal.stack_view import render_status, status_document
from crucible.settings import Settings, load
from deployments.stack import Home, read_state


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON.")] = False,
) -> None:
    """Show the services of the local stack, their states and URLs. Exit 0, also when none runs.

    Example: crucible status --json
    """
    home = Home.at(load(Settings).home)
    state = read_state(home.root)
    if as_json:
        print_json(status_document(state))
    elif state is None:
        typer.echo(f"not running ({home.root})")
    else:
        Console().print(render_status(state))
