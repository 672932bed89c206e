"""``crucible status``: what runs, and where."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from cli.readiness import ask_readiness
from cli.terminal.machine import print_json
from cli.terminal.stack_view import render_readiness, render_status, status_document
from crucible.settings import Settings, load
from deployments.stack import Home, read_state


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON.")] = False,
) -> None:
    """Show the services of the local stack, their states and URLs, and what is not ready and why.

    Exit 0, also when none runs.

    Example: crucible status --json
    """
    home = Home.at(load(Settings).home)
    state = read_state(home.root)
    readiness = ask_readiness(state) if state and state.api_url else None
    if as_json:
        print_json({**status_document(state), "readiness": readiness and asdict(readiness)})
    elif state is None:
        typer.echo(f"not running ({home.root})")
    else:
        Console().print(render_status(state))
        if readiness:
            Console().print(render_readiness(readiness))
