"""Writes what was measured into a Markdown document, between two markers; all else in it stays."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.tables import Grid
from crucible.errors import InputError

BEGIN = "<!-- figures: written by crucible bench -->"
END = "<!-- end of figures -->"


def check(path: Path) -> None:
    """Raise ``InputError`` unless figures can be written into ``path``: before measuring, not after."""
    _parts(path)


def rewrite(path: Path, facts: Mapping[str, str], grids: Iterable[Grid]) -> None:
    """Replace what is between the markers; raises ``InputError`` as ``check`` does."""
    before, after = _parts(path)
    list_of_facts = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    tables = "\n\n".join(markdown(grid) for grid in grids)
    path.write_text(f"{before}{BEGIN}\n\n{list_of_facts}\n\n{tables}\n\n{END}{after}")


def markdown(grid: Grid) -> str:
    """A table under a heading."""
    ruler = ["---", *("---:" for _ in grid.columns[1:])]
    rows = [grid.columns, ruler, *grid.rows]
    return f"### {grid.title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _parts(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path}: has no line {BEGIN!r} followed by {END!r}; figures go between these two")
    return before, after
