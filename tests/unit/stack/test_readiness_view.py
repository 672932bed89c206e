"""``crucible status`` in words: what is not ready, what fails, and one line when all is well."""

from typing import Any

from rich.console import Console

from cli.running import Readiness
from cli.terminal.stack_view import render_readiness


def service(name: str, **changes: Any) -> dict[str, Any]:
    well = {"failures": 0, "last_error": None, "failing_s": 0.0, "overdue": None, "required": True}
    return {"process": "flows@here:7", "name": name, **well, **changes}


def said(readiness: Readiness) -> list[str]:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render_readiness(readiness))
    return [line.strip() for line in captured.get().splitlines() if line.strip()]


def test_when_all_is_well_one_line_says_so() -> None:
    recovered = service("settler", failures=3, last_error="the disk is full")
    assert said(Readiness({}, [service("host lease"), recovered])) == [
        "ready: 2 background services of 1 processes"
    ]


def test_what_is_not_ready_is_said_once_and_what_else_fails_besides() -> None:
    overdue = service("settler", overdue="fails for 20 s: the disk is full", failing_s=20.0)
    failing = service("event log", required=False, failing_s=3.2, last_error="it is away")
    lines = said(
        Readiness(
            {"redis": "it is away", "settler of flows@here:7": "fails for 20 s: the disk is full"},
            [overdue, failing],
        )
    )
    assert lines == [
        "not ready: redis: it is away",
        "not ready: settler of flows@here:7: fails for 20 s: the disk is full",
        "does not work: event log of flows@here:7: fails for 3 s: it is away",
    ]
