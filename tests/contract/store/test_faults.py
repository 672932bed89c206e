"""A store that is full, busy or read-only is unavailable, and says the remedy, until it is not."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from crucible.errors import ServiceUnavailable, StoreError
from crucible.store import Store, sqlite_url
from crucible.store.database import Database, parse
from crucible.store.faults import translated
from tests.support.ledger import sweep_of
from tests.support.small_disk import small_disk
from tests.support.stores import new_database

_CONNECT_ANEW = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_a_full_disk_is_told_with_the_remedy_and_passes() -> None:
    with small_disk() as disk:
        store = await Store.open(sqlite_url(disk.folder / "store.db"))
        sweep_id, _ = await sweep_of(store, ["before"])
        with disk.full():
            with pytest.raises(ServiceUnavailable, match=r"store\.db: .*; free some room on that disk"):
                await sweep_of(store, [str(number) * 10_000 for number in range(10)])
            assert (await store.counts(sweep_id)).submitted == 1, "what was written can be read"
            with pytest.raises((ServiceUnavailable, StoreError), match=r"other\.db: "):
                await Store.open(sqlite_url(disk.folder / "other.db"))
        later, _ = await sweep_of(store, ["after"])
        assert (await store.counts(later)).submitted == 1
        await store.close()


def test_a_file_that_another_writes_to_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path, timeout=0)) as other:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            other.execute("BEGIN IMMEDIATE")
    fault = translated(caught.value, make_url(f"sqlite:///{path}"))
    assert isinstance(fault, ServiceUnavailable)
    assert "another process has been writing" in str(fault)


async def test_a_postgres_that_takes_no_writes_is_told_with_the_remedy_and_passes(
    postgres_server: str,
) -> None:
    url = new_database(postgres_server)
    store = await Store.open(url)
    await set_read_only(url, "on")
    with pytest.raises(ServiceUnavailable, match=r"read-only.*; that server takes no writes"):
        await sweep_of(store, ["meanwhile"])
    await set_read_only(url, "off")
    _, ids = await sweep_of(store, ["after"])
    assert len(ids) == 1
    await store.close()


async def set_read_only(url: str, setting: str) -> None:
    """Have the database take no writes, or take them; who is connected connects anew."""
    database = Database(parse(url))
    name = database.url.database
    statements = (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        f"ALTER DATABASE {name} SET default_transaction_read_only = {setting}",
        _CONNECT_ANEW,
    )
    async with database.read() as connection:
        for statement in statements:
            await connection.execute(text(statement))
            await connection.commit()
    await database.close()
