"""Every test here runs on every kind of store."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench import postgres
from crucible.store import Store, sqlite_url
from tests.support.stores import copied_database, copied_store, new_database


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL, without a database, of a Postgres server that only these tests use."""
    if reason := postgres.missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that nobody has opened yet. It is there, and empty, in a test of an open store."""
    copied = "store" in request.fixturenames
    if request.param == "sqlite":
        return (
            copied_store(tmp_path / "store.db")
            if copied
            else sqlite_url(tmp_path / "new folder" / "store.db")
        )
    server: str = request.getfixturevalue("postgres_server")
    return copied_database(server) if copied else new_database(server)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An open store."""
    opened = await Store.open(url)
    yield opened
    await opened.close()
