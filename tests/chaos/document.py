"""Writes the table into a Markdown document, between two markers; all else in it stays."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.findings import Row, markdown, summary

_BEGIN = "<!-- results: written by make chaos -->"
_END = "<!-- end of results -->"


def check(path: Path) -> None:
    """Ends the program unless the document has a place for the table: before hours of faults, not after."""
    _parts(path)


def rewrite(path: Path, rows: Sequence[Row], evaluations: int, seed: int) -> None:
    """Replace what is between the markers."""
    before, after = _parts(path)
    facts = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, sweeps of {evaluations}, seed {seed}: {summary(rows)}"
    path.write_text(f"{before}{_BEGIN}\n\n{facts}\n\n{markdown(rows)}\n\n{_END}{after}")


def _parts(path: Path) -> tuple[str, str]:
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        sys.exit(f"{path}: has no line {_BEGIN!r} followed by {_END!r}; the table goes between these")
    return before, after
