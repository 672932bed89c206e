"""``crucible breakers``: which parts are left alone because they failed, and until when."""

from dataclasses import asdict

from rich.table import Table

from cli.exits import Json, show
from cli.running import server_url
from cli.terminal.style import plain_table
from crucible.settings import BreakerSettings, Settings, load
from tasks.resilience.breaker import SHARED, BreakerState, breakers, connect_briefly

_COLOURS = {"closed": "green", "open": "red", "half-open": "yellow"}


def command(*, as_json: Json = False) -> None:
    """Show the circuit breakers of the executors and of Celery's broker. Exit 0, whatever their state.

    A breaker opens when at least half of the calls to a part fail; nobody calls it then for a while.

    Example: crucible breakers --json
    """
    with connect_briefly(server_url(load(Settings), "redis_url")) as client:
        found = breakers(client, SHARED, load(BreakerSettings).window_s)
    show({"breakers": [_document(state) for state in found]}, _table(found), as_json=as_json)


def _document(state: BreakerState) -> dict[str, object]:
    return asdict(state) | {"open_until": state.open_until and state.open_until.isoformat()}


def _table(states: list[BreakerState]) -> Table:
    table = plain_table("dependency", "state", "failed of calls", "open until", numbers_from=4)
    for state in states:
        standing = f"[{_COLOURS[state.state]}]{state.state}[/]{', probing' if state.probing else ''}"
        until = state.open_until.astimezone().strftime("%H:%M:%S") if state.open_until else ""
        table.add_row(state.dependency, standing, f"{state.failures} of {state.volume}", until)
    return table
