"""The files of a parity sweep: corpora by name, and one made of what came in."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import crucible
from crucible.corpus import to_line
from crucible.errors import InputError
from crucible.models import Evaluation
from crucible.store import Store

_ID_LENGTH = 200


async def recorded_lines(store: Store, limit: int) -> AsyncIterator[str]:
    """Corpus lines, without their line ends, of at most ``limit`` programs that came in, the newest first.

    An author's id may have come in many times, so Crucible's own follows it in the line's id: unique, and
    what was answered then can be looked up.
    """
    async for evaluation_id, evaluation in store.recorded(limit):
        yield to_line(_renamed(evaluation, evaluation_id))


def _renamed(evaluation: Evaluation, evaluation_id: str) -> Evaluation:
    if evaluation.id == evaluation_id:
        return evaluation
    ending = f" {evaluation_id}"
    return evaluation.model_copy(update={"id": evaluation.id[: _ID_LENGTH - len(ending)] + ending})


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
