"""Writes what was measured into a Markdown document, between two markers; all else in it stays."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.tables import Grid
from crucible.errors import InputError


class Place(NamedTuple):
    """Two lines of a document, between which figures go."""

    begin: str
    end: str


FIGURES = Place("<!-- figures: written by crucible bench -->", "<!-- end of figures -->")
FRONT = Place("<!-- front: written by crucible bench -->", "<!-- end of front -->")
SCALING = Place("<!-- scaling: written by crucible bench -->", "<!-- end of scaling -->")
STORE = Place("<!-- store: written by crucible bench -->", "<!-- end of store -->")
SANDBOXES = Place("<!-- sandboxes: written by crucible bench -->", "<!-- end of sandboxes -->")


def check(path: Path, place: Place) -> None:
    """Raise ``InputError`` unless figures can be written into ``path``: before measuring, not after."""
    _parts(path, place)


def rewrite(path: Path, place: Place, facts: Mapping[str, str], grids: Iterable[Grid]) -> None:
    """Replace what is between the markers; raises ``InputError`` as ``check`` does."""
    before, after = _parts(path, place)
    list_of_facts = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    tables = "\n\n".join(markdown(grid) for grid in grids)
    path.write_text(f"{before}{place.begin}\n\n{list_of_facts}\n\n{tables}\n\n{place.end}{after}")


def markdown(grid: Grid) -> str:
    """A table under a heading."""
    ruler = ["---", *("---:" for _ in grid.columns[1:])]
    rows = [grid.columns, ruler, *grid.rows]
    return f"### {grid.title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _parts(path: Path, place: Place) -> tuple[str, str]:
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    before, begin, rest = text.partition(place.begin)
    _, end, after = rest.partition(place.end)
    if not begin or not end:
        raise InputError(
            f"{path}: has no line {place.begin!r} followed by {place.end!r}; figures go between these"
        )
    return before, after
