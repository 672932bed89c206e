"""What a database reads to answer a question, by its own account."""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import event

from crucible.store import Store


class Read(NamedTuple):
    """What Postgres reads for a question.

    ``rows`` are those that all scans visit, those that a filter throws away included. What an index throws
    away itself is in no plan: it shows in ``beside``, the pages of each scan beyond one for each row.
    """

    rows: int
    beside: int


async def read_by(store: Store, question: Callable[[], Awaitable[object]]) -> Read:
    """What all SELECTs of a question to a store on Postgres read."""
    with _noted(store) as selects:
        await question()
    total = Read(0, 0)
    async with store._database.read() as connection:
        for statement, parameters in selects:
            explained = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}", parameters
            )
            answer = explained.scalar_one()
            (plan,) = json.loads(answer) if isinstance(answer, str) else answer
            for each in _scans(plan["Plan"]):
                total = Read(total.rows + each.rows, total.beside + each.beside)
    return total


async def sqlite_plan(store: Store, question: Callable[[], Awaitable[object]]) -> list[str]:
    """How SQLite goes about a question's SELECTs, line by line."""
    with _noted(store) as selects:
        await question()
    async with store._database.read() as connection:
        return [
            row.detail
            for statement, parameters in selects
            for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def _scans(node: dict[str, Any]) -> Iterator[Read]:
    if "Scan" in node["Node Type"]:
        removed = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
        rows = int((node["Actual Rows"] + removed) * node["Actual Loops"])
        pages = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
        yield Read(rows, max(pages - rows, 0))
    for each in node.get("Plans", ()):
        yield from _scans(each)


@contextmanager
def _noted(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """The SELECTs that are sent from here on, with their parameters."""
    found: list[tuple[str, Any]] = []
    engine = store._database._engine.sync_engine

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)
