"""``crucible up``, ``down`` and ``status``: the local stack, started, ended and looked at."""

import asyncio
from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console, Group

from cli.exits import Json, print_json, show
from cli.running import ask_readiness
from cli.terminal.stack_view import (
    render_readiness,
    render_status,
    render_urls,
    starting_view,
    status_document,
)
from crucible.errors import AlreadyRunning
from crucible.settings import Settings, load
from deployments.stack import (
    Home,
    StackState,
    attach,
    read_state,
    serve_stack,
    start_detached,
    stop_stack,
)

_STOP_WITHIN_S = 90.0


def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it running as a process of its own; `down` ends it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start every server and process Crucible needs on this machine, and keep them running.

    Ctrl-C or SIGTERM stops them all. A second `up` says where the first one's parts are. A server named
    by a setting is used and not started: CRUCIBLE_REDIS_URL, CRUCIBLE_CELERY_REDIS_URL,
    CRUCIBLE_PREFECT_API_URL, CRUCIBLE_EXECUTOR_1_URL to _3_URL.

    Example: crucible up --detach
    """
    settings = load(Settings)
    screen = _Screen(settings, as_json=as_json)
    try:
        asyncio.run(_detached(settings, screen) if detach else _foreground(settings, screen))
    except AlreadyRunning:
        home = Home.at(settings.home)
        screen.show(asyncio.run(attach(home, settings.start_timeout_s)), "the local stack is up already")


def down(*, as_json: Json = False) -> None:
    """Stop the local stack and wait until nothing of it is left. Exit 0, also when none runs.

    Example: crucible up --detach; crucible status; crucible down
    """
    home = Home.at(load(Settings).home)
    pid = asyncio.run(stop_stack(home, _STOP_WITHIN_S))
    done = "not running" if pid is None else "stopped"
    show({"stopped": pid is not None, "pid": pid}, f"{done} ({home.root})", as_json=as_json)


def status(*, as_json: Json = False) -> None:
    """Show the services of the local stack, their states and URLs, and what is not ready and why.

    Exit 0, also when none runs.

    Example: crucible status --json
    """
    home = Home.at(load(Settings).home)
    state = read_state(home.root)
    if state is None:
        none = {**status_document(None), "readiness": None}
        show(none, f"not running ({home.root})", as_json=as_json)
        return
    readiness = ask_readiness(state)
    document = {**status_document(state), "readiness": asdict(readiness)}
    show(document, Group(render_status(state), render_readiness(readiness)), as_json=as_json)


class _Screen:
    """Results on standard output, all else on standard error."""

    def __init__(self, settings: Settings, *, as_json: bool) -> None:
        self._settings, self._as_json = settings, as_json
        self._errors = Console(stderr=True)
        self.has_shown = False

    def say_change(self, name: str, state: str) -> None:
        """Tell what became of a service after the start."""
        self._errors.print(f"{name} {state}", markup=False, highlight=False)

    def show(self, state: StackState, headline: str | None = None) -> None:
        """Show where everything is."""
        self.has_shown = True
        if self._as_json:
            print_json(status_document(state))
            return
        if headline:
            typer.echo(headline)
        Console().print(render_urls(state))
        key = "CRUCIBLE_API_KEY" if self._settings.api_key else str(Home.at(self._settings.home).secrets)
        typer.echo(f"API key  {key}")


async def _detached(settings: Settings, screen: _Screen) -> None:
    with starting_view() as on_progress:
        state = await start_detached(settings, on_progress)
    screen.show(state)


async def _foreground(settings: Settings, screen: _Screen) -> None:
    with ExitStack() as view:
        show_start = view.enter_context(starting_view())

        def on_progress(name: str, state: str) -> None:
            (screen.say_change if screen.has_shown else show_start)(name, state)

        def on_ready(state: StackState) -> None:
            view.close()
            screen.show(state)

        await serve_stack(settings, on_ready, on_progress)
