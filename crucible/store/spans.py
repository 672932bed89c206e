"""Spans in the store: a bounded memory of what happened to evaluations, which nothing rests on."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Row, delete, select, tuple_

from crucible.store.database import Database
from crucible.store.encoding import decoded
from crucible.store.queries import new_rows
from crucible.store.tables import spans
from crucible.telemetry.otlp import SpanRecord, with_legs

_MOST_OF_A_TRACE = 2_000
_COLUMNS = ("trace_id", "span_id", "parent_id", "name", "service", "started_us", "duration_us")


class Sent(NamedTuple):
    """An enqueue of which the store knows: which run, on which leg, and its place in its trace."""

    run: int
    leg: str
    trace_id: str
    span_id: str


class SpanStore:
    """That part of the store; it raises as ``Store`` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, records: Sequence[SpanRecord]) -> None:
        """Keep spans; those that are there already stay as they are."""
        if not records:
            return
        async with self._database.write() as connection:
            anew = new_rows(spans, on_sqlite=self._database.is_sqlite)
            await connection.execute(anew, [_values(each) for each in records])

    async def trace(self, trace_id: str) -> list[SpanRecord]:
        """The spans of a trace, of which at most two thousand are shown, by their start."""
        wanted = select(spans).where(spans.c.trace_id == trace_id)
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(spans.c.started_us).limit(_MOST_OF_A_TRACE))
            return with_legs([_record(row) for row in rows])

    async def sent(self, trace_ids: Collection[str]) -> list[Sent]:
        """What was ever enqueued in these traces, as far as it is known, by time."""
        wanted = select(spans).where(spans.c.trace_id.in_(trace_ids), spans.c.name == "enqueue")
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(spans.c.started_us))
            found = [_record(row) for row in rows]
        return [
            Sent(int(each.attributes.get("run", 0)), each.leg or "", each.trace_id, each.span_id)
            for each in found
        ]

    async def oldest_kept(self, most: int) -> int:
        """When, in µs since 1970, the oldest of the newest ``most`` spans began; 0 if there are no more."""
        nth = select(spans.c.started_us).order_by(spans.c.started_us.desc()).offset(most).limit(1)
        async with self._database.read() as connection:
            return await connection.scalar(nth) or 0

    async def forget(self, before_us: int, most: int) -> int:
        """Forget spans that began before a moment, at most so many at once; returns how many those were."""
        key = (spans.c.trace_id, spans.c.span_id)
        old = select(*key).where(spans.c.started_us <= before_us).limit(most)
        async with self._database.write() as connection:
            gone = await connection.execute(delete(spans).where(tuple_(*key).in_(old)))
            return gone.rowcount


def _values(record: SpanRecord) -> Mapping[str, Any]:
    document = record.model_dump(mode="json", exclude_defaults=True)
    values = {name: document.pop(name, None) for name in _COLUMNS}
    return {**values, "body": orjson.dumps(document).decode()}


def _record(row: Row[Any]) -> SpanRecord:
    known = {name: getattr(row, name) for name in _COLUMNS}

    def read(body: str) -> SpanRecord:
        return SpanRecord.model_validate({**orjson.loads(body), **known})

    return decoded(read, row.body, f"span {row.span_id}")
