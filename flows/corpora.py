"""The files of a parity sweep: corpora by name, and one made of what came in."""

from collections.abc import Iterable
from pathlib import Path

import crucible
from crucible.errors import InputError
from crucible.recorded import recorded_lines
from crucible.store import Store

BUNDLED = "bundled"
"""Stands for the corpus that comes with Crucible, wherever that is."""


def corpus_files(names: Iterable[str]) -> tuple[Path, ...]:
    """The files of these names, one of which may be ``BUNDLED``; raises ``InputError`` if that is missing."""
    return tuple(_bundled() if name == BUNDLED else Path(name) for name in names)


async def write_recorded(store: Store, limit: int, file: Path) -> int:
    """Write at most ``limit`` programs that came in as a corpus, the newest first; returns how many."""
    number = 0
    with file.open("w", encoding="utf-8", newline="\n") as corpus:
        async for line in recorded_lines(store, limit):
            corpus.write(f"{line}\n")
            number += 1
    return number


def _bundled() -> Path:
    file = Path(crucible.__file__).parents[1] / "corpora" / "bundled.jsonl"
    if not file.exists():
        raise InputError(f"the bundled corpus is not at {file}; name a corpus file instead of {BUNDLED!r}")
    return file
