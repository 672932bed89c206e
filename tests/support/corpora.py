"""Corpora made for one test, those that lie beside the repository, and the ledger a sweep leaves."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from tests.support.stores import on_postgres, rows

BESIDE = Path(__file__).parents[3] / "shared" / "corpora"


def line(name: str, code: str, **more: object) -> dict[str, Any]:
    """One evaluation in python, unless told otherwise."""
    return {"id": name, "language": "python", "code": code} | more


def write_corpus(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """A corpus file of ``lines``."""
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def prints(number: int, seconds: float = 0) -> list[dict[str, Any]]:
    """Evaluations that print what is theirs alone, each after ``seconds``."""
    wait = f"import time; time.sleep({seconds}); " if seconds else ""
    return [line(f"prints/{index}", f"{wait}print({index})") for index in range(number)]


def beside(name: str) -> Path:
    """A corpus written by others, which is no part of the repository; skips the test where it is not."""
    path = BESIDE / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the repository, of which it is no part")
    return path


def awkward(folder: Path) -> Path:
    """The awkward programs written by others, each of which can reach one limit on its time at most.

    Some have as much processor time as time on the clock, and which of the two a loop reaches first depends
    on what else the machine does.
    """
    lines = [json.loads(text) for text in beside("awkward.jsonl").read_text().splitlines()]
    for each in lines:
        if "wall_s" in (limits := each.get("limits", {})):
            limits["cpu_s"] = 2 * limits["wall_s"]
    return write_corpus(folder / "awkward.jsonl", lines)


def ledger(home: Path) -> Counter[str | None]:
    """How many evaluations of a home's newest sweep are in each column; null for those in none.

    Of that sweep alone: other tests on the same stack may have left evaluations open.
    """
    found = rows(
        home,
        "SELECT classification, count(*) FROM evaluations"
        " WHERE sweep_id = (SELECT max(id) FROM sweeps) GROUP BY 1",
    )
    return Counter(dict(found))


def names_of(home: Path, classification: str) -> list[str]:
    """The authors' ids of the evaluations of a home's newest sweep in a column, in order."""
    query = (
        "SELECT name FROM evaluations WHERE classification = :classification"
        " AND sweep_id = (SELECT max(id) FROM sweeps) ORDER BY name"
    )
    return [name for (name,) in rows(home, query, classification=classification)]


def is_under_way(home: Path) -> bool:
    """Whether some evaluations of the newest sweep are settled and others are not."""
    if not on_postgres() and not (home / "crucible.db").exists():
        return False
    try:
        counted = ledger(home)
    except DBAPIError:  # its tables are being made
        return False
    return 0 < counted[None] < counted.total()


def newest_sweep(home: Path) -> str:
    """The id of a home's newest sweep."""
    ((sweep_id,),) = rows(home, "SELECT max(id) FROM sweeps")
    return str(sweep_id)
