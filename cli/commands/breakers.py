"""``crucible breakers``: which parts are left alone because they failed, and until when."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.terminal.machine import print_json
from crucible.errors import ServiceUnavailable
from crucible.settings import BreakerSettings, Settings, load
from deployments.stack import Home, read_state
from tasks.resilience.breakers import SHARED
from tasks.resilience.shared import BreakerState, breakers, connect_briefly

_COLOURS = {"closed": "green", "open": "red", "half-open": "yellow"}


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the breakers as JSON.")] = False,
) -> None:
    """Show the circuit breakers of the executors and of Celery's broker. Exit 0, whatever their state.

    A breaker opens when at least half of the calls to a part fail; nobody calls it then for a while.

    Example: crucible breakers --json
    """
    found = _states(_redis_url())
    if as_json:
        print_json({"breakers": [_document(state) for state in found]})
    else:
        Console().print(_table(found))


def _redis_url() -> str:
    settings = load(Settings)
    if settings.redis_url is not None:
        return settings.redis_url
    state = read_state(Home.at(settings.home).root)
    if state is None:
        raise ServiceUnavailable(
            "no stack runs here and CRUCIBLE_REDIS_URL is not set; start one with `crucible up`"
        )
    return state.redis_url


def _states(redis_url: str) -> list[BreakerState]:
    with connect_briefly(redis_url) as client:
        return breakers(client, SHARED, load(BreakerSettings).window_s)


def _document(state: BreakerState) -> dict[str, object]:
    return asdict(state) | {"open_until": state.open_until and state.open_until.isoformat()}


def _table(states: list[BreakerState]) -> Table:
    table = Table("dependency", "state", "failed of calls", "open until", box=None)
    for state in states:
        standing = f"[{_COLOURS[state.state]}]{state.state}[/]{', probing' if state.probing else ''}"
        until = state.open_until.astimezone().strftime("%H:%M:%S") if state.open_until else ""
        table.add_row(state.dependency, standing, f"{state.failures} of {state.volume}", until)
    return table
