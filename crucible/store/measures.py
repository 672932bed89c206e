"""How large the store is, and what it is made of."""

from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.ids import made_at
from crucible.models.frozen import Frozen
from crucible.rollout.assessment import ALL
from crucible.store.database import Database
from crucible.store.rollout_state import read_closing
from crucible.store.tables import REVISION, evaluations, let_go, retention


class TableSize(Frozen):
    """One table: its rows, which Postgres only estimates, and its bytes with and without indexes."""

    name: str
    rows: int
    bytes: int
    index_bytes: int


class StoreInfo(Frozen):
    """A store at one moment. ``tables`` is empty on SQLite, which knows the size of its file alone.

    ``oldest`` is when the oldest evaluation was submitted; ``closed`` is the position up to which the
    evidence was verified and may be gone; ``let_go`` counts the evaluations that went.
    """

    database: str
    revision: str
    bytes: int
    evaluations: int
    oldest: datetime | None
    closed: int
    let_go: int
    last_pruned: datetime | None
    tables: tuple[TableSize, ...] = ()


async def measured(database: Database) -> StoreInfo:
    """The store's measures; on SQLite its rows are counted one by one."""
    async with database.read() as connection:
        tables = () if database.is_sqlite else await _tables(connection)
        first = await connection.scalar(select(func.min(evaluations.c.id)))
        return StoreInfo(
            database="sqlite" if database.is_sqlite else "postgresql",
            revision=REVISION,
            bytes=await _bytes(connection, on_sqlite=database.is_sqlite),
            evaluations=await _evaluations(connection, tables),
            oldest=None if first is None else made_at(first),
            closed=(await read_closing(connection)).seq,
            let_go=await _gone(connection),
            last_pruned=await connection.scalar(select(retention.c.ran_at)),
            tables=tables,
        )


async def _gone(connection: AsyncConnection) -> int:
    """Traffic is in the stratum of all and in others, a sweep in one row without a stratum."""
    query = select(func.sum(let_go.c.submitted)).where(let_go.c.stratum.in_(("", ALL)))
    return int(await connection.scalar(query) or 0)


async def _bytes(connection: AsyncConnection, *, on_sqlite: bool) -> int:
    if not on_sqlite:
        return int(await connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    pages = await connection.scalar(text("PRAGMA page_count")) or 0
    return int(pages) * int(await connection.scalar(text("PRAGMA page_size")) or 0)


async def _evaluations(connection: AsyncConnection, tables: tuple[TableSize, ...]) -> int:
    known = next((each.rows for each in tables if each.name == evaluations.name), None)
    if known is not None:
        return known
    return await connection.scalar(select(func.count()).select_from(evaluations)) or 0


async def _tables(connection: AsyncConnection) -> tuple[TableSize, ...]:
    query = text(
        "SELECT relname AS name, greatest(reltuples, 0)::bigint AS rows,"
        " pg_table_size(oid) AS bytes, pg_indexes_size(oid) AS index_bytes FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        " ORDER BY pg_total_relation_size(oid) DESC"
    )
    return tuple(TableSize(**row._mapping) for row in await connection.execute(query))  # noqa: SLF001
