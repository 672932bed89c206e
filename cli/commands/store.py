"""``crucible store``: how large it is, letting the old go, and the way back to an older version."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.text import Text

from cli import foreground
from cli.exits import Json, show
from cli.migration import on_store, store_url
from cli.terminal.style import plain_table
from crucible.errors import InputError
from crucible.settings import RetentionSettings, Settings, load
from crucible.store.database import Database, parse, revisions
from crucible.store.database import downgrade as take_back
from crucible.store.retention import Pruned, StoreInfo, prune
from deployments.stack import read_state

app = typer.Typer(help="See how large the store is, let the old go, take it back to an older version.")


@app.command("info")
def info(*, as_json: Json = False) -> None:
    """Show the store's size, table by table on Postgres, and what was let go.

    Example: crucible store info
    """
    found = on_store(lambda store: store.measured())
    show(found.model_dump(mode="json"), _worded(found), as_json=as_json)


@app.command("prune")
def prune_now(
    *,
    days: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Keep what was settled within; else CRUCIBLE_RETENTION_DAYS."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let evaluations go that were settled so long ago, with all that belongs to them. Totals stay.

    Evidence is verified before it goes; where it contradicts the books nothing goes, and the exit is 4.
    It can be stopped at any time and goes on where it was. A running API does this every day by itself
    where CRUCIBLE_RETENTION_DAYS is set.

    Example: crucible store prune --days 90
    """
    before = datetime.now(UTC) - _days(days if days is not None else load(RetentionSettings).days)
    with Console(stderr=True).status("") as status:

        def on_step(done: Pruned) -> None:
            status.update(_pruned(done))

        done = on_store(lambda store: prune(store.retention, before, on_step))
    show({"before": before.isoformat(), **done._asdict()}, _pruned(done), as_json=as_json)


@app.command("downgrade")
def downgrade(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="The one that the older version has.")],
) -> None:
    """Take the store back for an older Crucible, with all that it has a place for. Stop everything first.

    The next command of this version brings it up again.

    Example: crucible store downgrade 0004
    """
    if revision not in revisions():
        raise InputError(f"no revision is called {revision!r}; there are {', '.join(revisions())}")
    settings = load(Settings)
    url, running = store_url(settings), read_state(settings.home)
    if running is not None and running.database_url == url:
        raise InputError(f"the stack of {settings.home} works on this store; `crucible down` ends it")

    async def done() -> None:
        database = Database(parse(url))
        try:
            await take_back(database, revision)
        finally:
            await database.close()

    foreground.run(done())
    typer.echo(f"the store stands at revision {revision}")


def _days(days: float | None) -> timedelta:
    if days is None:
        raise InputError("nothing says how long to keep; give --days, or set CRUCIBLE_RETENTION_DAYS")
    if not 0 <= days < 36_500:  # also refuses what is no number
        raise InputError(f"--days {days:g}: is no number of days from 0 to 36500")
    return timedelta(days=days)


def _pruned(done: Pruned) -> str:
    return f"{done.closed:,} pairs verified and closed, {done.let_go:,} evaluations let go"


def _worded(info: StoreInfo) -> RenderableType:
    """A few lines, and a row for each table where the database knows them apart."""
    each = f", {info.bytes / info.evaluations:,.0f} bytes each" if info.evaluations else ""
    lines = [
        f"{info.database} at revision {info.revision}: {_mb(info.bytes)} MiB",
        f"{info.evaluations:,} evaluations{each}",
    ]
    if info.oldest is not None:
        lines.append(f"the oldest of {info.oldest:%Y-%m-%d %H:%M} UTC")
    if info.let_go or info.closed:
        lines.append(f"let go: {info.let_go:,} evaluations; evidence closed up to {info.closed:,}")
    if info.last_pruned is not None:
        lines.append(f"last pruned by itself {info.last_pruned:%Y-%m-%d %H:%M} UTC")
    table = plain_table("table", "rows, about", "MiB", "indexes MiB", numbers_from=1)
    for row in info.tables:
        table.add_row(row.name, f"{row.rows:,}", _mb(row.bytes), _mb(row.index_bytes))
    return Group(Text("\n".join(lines)), *([table] if info.tables else []))


def _mb(number: int) -> str:
    return f"{number / (1 << 20):,.1f}"
