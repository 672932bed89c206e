"""The local stack on the terminal: how it comes up, and where its parts are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.readiness import Readiness
from deployments.stack import ServiceState, StackState

_STATE_STYLES = {
    ServiceState.READY: "green",
    ServiceState.EXTERNAL: "green",
    ServiceState.STARTING: "yellow",
    ServiceState.RESTARTING: "bold red",
    ServiceState.STOPPED: "dim",
}

NO_GATEWAY = "none, for nginx is not installed; on Debian: apt install nginx"


@contextmanager
def starting_view(console: Console | None = None) -> Iterator[Callable[[str, str], None]]:
    """What the stack waits for, on standard error, while inside; yields what is to hear of changes.

    Without a terminal two lines: when services begin to start, and when all are up. Silent for a stack
    that is up already.
    """
    console = console or Console(stderr=True)
    waiting: dict[str, None] = {}
    began: float | None = None
    with console.status("starting the local stack") as status:

        def show(name: str, state: str) -> None:
            nonlocal began
            if began is None and state == ServiceState.STARTING:
                began = monotonic()
                if not console.is_terminal:
                    console.print("starting the local stack")
            if state == ServiceState.STARTING:
                waiting[name] = None
            elif state in {ServiceState.READY, ServiceState.STOPPED}:
                waiting.pop(name, None)
            status.update(Text(f"starting the local stack: waiting for {', '.join(waiting) or 'the rest'}"))

        yield show
    if began is not None:
        console.print(f"the local stack is up ({monotonic() - began:.1f} s)", highlight=False)


def render_urls(state: StackState) -> RenderableType:
    """Where users find what."""
    table = Table.grid(padding=(0, 2))
    urls = {"gateway": state.gateway_url, "API": state.api_url, "Prefect": state.prefect_url}
    for name, url in {**urls, "Flower": state.flower_url}.items():
        if url:
            table.add_row(name, Text(url, style="bold"))
    if state.gateway_url is None and not state.ephemeral:
        table.add_row("gateway", Text(NO_GATEWAY, style="yellow"))
    return table


def render_status(state: StackState) -> RenderableType:
    """Every service, and where users find what."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("service", "state", "pid", "url"):
        table.add_column(column, justify="right" if column == "pid" else "left", overflow="fold")
    for service in state.services:
        shown = Text(service.state, style=_STATE_STYLES[service.state])
        table.add_row(service.name, shown, str(service.pid or ""), Text(service.url or ""))
    kind = "for one command alone" if state.ephemeral else "up"
    headline = Text(f"{kind} since {state.started_at:%Y-%m-%d %H:%M:%S} UTC, process {state.pid}\n")
    return Group(headline, table, Text(), render_urls(state))


def render_readiness(readiness: Readiness) -> RenderableType:
    """What is not ready, and which loops fail; one line when all is well."""
    lines = [Text(f"not ready: {name}: {why}", "bold red") for name, why in readiness.missing.items()]
    for each in readiness.services:
        where = f"{each['name']} of {each['process']}"
        if where not in readiness.missing and (each["overdue"] or each["failing_s"]):
            why = each["overdue"] or f"fails for {each['failing_s']:.0f} s: {each['last_error']}"
            lines.append(Text(f"does not work: {where}: {why}", "yellow"))
    if not lines:
        processes = len({each["process"] for each in readiness.services})
        lines = [
            Text(f"ready: {len(readiness.services)} background services of {processes} processes", "green")
        ]
    return Group(Text(), *lines)


def status_document(state: StackState | None) -> dict[str, Any]:
    """The same for machines; nothing in it is secret."""
    keys = ("gateway_url", "api_url", "prefect_url", "flower_url")
    if state is None:
        return {"running": False, **dict.fromkeys(keys), "services": []}
    services = [service.model_dump(mode="json") for service in state.services]
    return {"running": True, **{key: getattr(state, key) for key in keys}, "services": services}
