"""What the database itself says of a sweep, without any of the product's code: read, and by a trigger."""

import base64
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_INSTALL = """
CREATE TABLE IF NOT EXISTS chaos_settlements (id TEXT, old TEXT, new TEXT, at REAL);
CREATE TRIGGER IF NOT EXISTS chaos_settled AFTER UPDATE OF classification ON evaluations
BEGIN INSERT INTO chaos_settlements VALUES
    (NEW.id, OLD.classification, NEW.classification, (julianday('now') - 2440587.5) * 86400); END;
"""
_REMOVE = "DROP TRIGGER IF EXISTS chaos_settled; DROP TABLE IF EXISTS chaos_settlements;"
_BY_RERUNS = {("mismatch", "match"), ("mismatch", "nondeterministic"), ("mismatch", "mismatch")}
_PATIENCE_S = 30


class Settlement(NamedTuple):
    """An evaluation got a column; ``at`` is in seconds since 1970."""

    id: str
    old: str | None
    new: str | None
    at: float


@dataclass(frozen=True)
class Books:
    """The store at ``path``. Everything asked for is about what was submitted after ``since``, an id."""

    path: Path
    since: str = ""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Until the end, every settlement is logged by the database."""
        with self._connection() as store:
            store.executescript(_REMOVE + _INSTALL)
        try:
            yield
        finally:
            with self._connection() as store:
                store.executescript(_REMOVE)

    def from_now(self) -> "Books":
        """The books of what will be submitted."""
        return Books(self.path, self._rows("SELECT coalesce(max(id), '') FROM evaluations")[0][0])

    def columns(self, sweep_id: str | None) -> Counter[str | None]:
        """How many evaluations of a sweep, or of traffic, are in each column; null for those in none."""
        query = "SELECT classification, count(*) FROM evaluations WHERE id > ? AND sweep_id IS ? GROUP BY 1"
        return Counter(dict(self._rows(query, self.since, sweep_id)))

    def sweep_id(self) -> str | None:
        """The sweep that was begun, if it has submitted anything."""
        query = "SELECT max(sweep_id) FROM evaluations WHERE id > ?"
        found: str | None = self._rows(query, self.since)[0][0]
        return found

    def open_ids(self) -> set[str]:
        """What has no column yet."""
        query = "SELECT id FROM evaluations WHERE id > ? AND classification IS NULL"
        return {each for (each,) in self._rows(query, self.since)}

    def ids(self) -> set[str]:
        """All that was submitted."""
        return {each for (each,) in self._rows("SELECT id FROM evaluations WHERE id > ?", self.since)}

    def settlements(self) -> list[Settlement]:
        """In the order in which they were made."""
        query = "SELECT id, old, new, at FROM chaos_settlements WHERE id > ? ORDER BY rowid"
        return [Settlement(*row) for row in self._rows(query, self.since)]

    def settled_twice(self) -> list[str]:
        """Ids that got a column more often than once, but for what re-runs make of a mismatch."""
        first: set[str] = set()
        twice = []
        for each in self.settlements():
            if each.old is None and each.id not in first:
                first.add(each.id)
            elif (each.old, each.new) not in _BY_RERUNS:
                twice.append(each.id)
        return twice

    def mixed_up(self) -> list[str]:
        """Evaluations under which an observation of another program is kept."""
        query = (
            "SELECT e.id, e.name, o.body FROM observations o JOIN evaluations e ON e.id = o.evaluation_id"
            " WHERE e.id > ? AND o.outcome IN ('ok', 'nonzero_exit')"
        )
        return [
            evaluation_id
            for evaluation_id, name, body in self._rows(query, self.since)
            if base64.b64decode(json.loads(body).get("stdout_b64", "")).decode() != f"{name}\n"
        ]

    def reasons(self) -> Counter[str]:
        """Why evaluations are unpaired, and how many for each reason."""
        query = "SELECT comparison FROM evaluations WHERE id > ? AND classification = 'unpaired'"
        found: Counter[str] = Counter()
        for (comparison,) in self._rows(query, self.since):
            found.update(
                f"{leg}: {why}" for leg, why in (json.loads(comparison).get("reasons") or {}).items()
            )
        return found

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._connection() as store:
            return store.execute(query, values).fetchall()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_PATIENCE_S)) as store, store:
            yield store
