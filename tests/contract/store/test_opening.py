"""How a store is made, brought up to date, shared and refused."""

import asyncio
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import column, table, text, update

from bench import postgres
from crucible.errors import CrucibleError, ServiceUnavailable, SettingsError, StoreError
from crucible.store import Store, sqlite_url
from crucible.store.database import Database, parse
from crucible.store.tables import REVISION, VERSION_TABLE, metadata
from tests.support.ledger import comparison, sweep_of

OPEN_AND_WRITE = """
import asyncio, sys
from crucible.store import Store
from tests.support.ledger import sweep_of
async def main():
    print("ready", flush=True)
    sys.stdin.read()
    store = await Store.open(sys.argv[1])
    print((await sweep_of(store, ["a", "b"]))[0])
    await store.close()
asyncio.run(main())
"""


class SealedFolder:
    """A folder that can be made such that nothing in it can be written, even by root."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="crucible-store-"))

    def seal(self) -> None:
        """Take away the right to write, and root's right to write regardless."""
        self.path.chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(postgres.NOBODY)

    def remove(self) -> None:
        """Give the rights back and remove the folder."""
        os.seteuid(os.getuid())
        self.path.chmod(0o755)
        shutil.rmtree(self.path)


@pytest.fixture
def folder() -> Iterator[SealedFolder]:
    """A folder that can be sealed."""
    made = SealedFolder()
    yield made
    made.remove()


async def refusal(url: str) -> str:
    """The one line with which opening ``url`` is refused."""
    with pytest.raises(CrucibleError) as caught:
        await Store.open(url)
    assert isinstance(caught.value, StoreError)
    line = str(caught.value)
    assert "\n" not in line
    return line


async def test_what_was_written_is_there_when_a_store_is_opened_again(url: str) -> None:
    store = await Store.open(url)
    sweep_id, ids = await sweep_of(store, ["a", "b"])
    await store.settle([comparison(ids[0], name="a")])
    await store.close()

    again = await Store.open(url)
    assert await again.comparison(ids[0]) == comparison(ids[0], name="a")
    assert await again.unsettled(sweep_id, 5) == [ids[1]]
    await again.close()


async def test_four_processes_can_make_a_store_at_once(url: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", OPEN_AND_WRITE, url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    results = await asyncio.gather(*(process.communicate(b"") for process in processes))
    assert [process.returncode for process in processes] == [0] * 4, results

    store = await Store.open(url)
    for printed, _ in results:
        assert (await store.counts(printed.decode().strip())).submitted == 2
    await store.close()


async def test_migrations_lead_to_the_tables_the_store_uses(url: str) -> None:
    await (await Store.open(url)).close()
    database = Database(parse(url))

    async with database.read() as connection:
        found = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"version_table": VERSION_TABLE}), metadata
            )
        )
    await database.close()

    assert found == []
    config = Config()
    config.set_main_option("script_location", "crucible.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


async def test_a_store_of_a_newer_version_is_refused(url: str) -> None:
    await (await Store.open(url)).close()
    database = Database(parse(url))
    async with database.write() as connection:
        await connection.execute(
            update(table(VERSION_TABLE, column("version_num"))).values(version_num="9999")
        )
    await database.close()

    line = await refusal(url)
    assert "9999" in line
    assert "newer Crucible" in line


async def test_a_row_no_crucible_wrote_is_named(url: str, store: Store) -> None:
    _, [evaluation_id] = await sweep_of(store, ["a"])
    database = Database(parse(url))
    async with database.write() as connection:
        await connection.execute(text("UPDATE evaluations SET payload = '{}'"))
    await database.close()

    with pytest.raises(StoreError, match=evaluation_id):
        await store.load([evaluation_id])


async def test_a_folder_that_cannot_be_written_is_refused(folder: SealedFolder) -> None:
    folder.seal()

    assert "CRUCIBLE_HOME" in await refusal(sqlite_url(folder.path / "store.db"))
    assert "CRUCIBLE_HOME" in await refusal(sqlite_url(folder.path / "new" / "store.db"))


async def test_a_store_that_cannot_be_written_is_refused(folder: SealedFolder) -> None:
    path = folder.path / "store.db"
    await (await Store.open(sqlite_url(path))).close()
    folder.seal()

    assert f"store {path}" in await refusal(sqlite_url(path))


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all\n" * 100)

    assert "not a database" in await refusal(sqlite_url(path))
    assert path.read_text().startswith("not a database at all\n")


async def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE evaluations (id INTEGER)")

    assert "already exists" in await refusal(sqlite_url(path))
    with sqlite3.connect(path) as other:
        assert [row[0] for row in other.execute("SELECT name FROM sqlite_master")] == ["evaluations"]


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(ServiceUnavailable, match=re.escape("127.0.0.1:1/crucible")) as caught:
        await Store.open("postgresql://user:secret@127.0.0.1:1/crucible")

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("postgres_server")
async def test_a_server_that_goes_away_is_named() -> None:
    with postgres.running() as server:
        store = await Store.open(f"{server}postgres")
        sweep_id, [evaluation_id] = await sweep_of(store, ["a"])
    for use in (store.settle([comparison(evaluation_id)]), store.counts(sweep_id)):
        with pytest.raises(ServiceUnavailable, match="no database server"):
            await use
    await store.close()


async def test_a_database_the_server_does_not_have_is_named(postgres_server: str) -> None:
    assert '"missing"' in await refusal(f"{postgres_server}missing")


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://localhost/x", "sqlite://", "postgresql://127.0.0.1/x?sslmode=require"]
)
async def test_a_url_that_names_no_store_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="CRUCIBLE_DATABASE_URL"):
        await Store.open(url)
