"""The store's measures on the terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from cli.terminal.style import plain_table
from crucible.store.measures import StoreInfo


def render_info(info: StoreInfo) -> RenderableType:
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
