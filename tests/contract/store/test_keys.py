"""API keys in the store: what is kept of them, and that one revoked stays so."""

from datetime import UTC, datetime, timedelta

from crucible.models.access import Scope, digest_of
from crucible.store import Store
from tests.support.api import Api


async def test_a_key_comes_back_as_it_was_and_its_text_is_nowhere(store: Store) -> None:
    ends = datetime(2027, 1, 31, 12, tzinfo=UTC)
    key, text = await Api.make_key(store, Scope.SUBMIT, Scope.READ, expires_at=ends, per_minute=7)
    assert await store.keys.find(key.id) == (key, digest_of(text))
    async with store._database.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM api_keys")).all()
    assert text not in str(rows)
    assert text.split("_", 2)[2] not in str(rows)


async def test_keys_are_listed_with_the_oldest_first(store: Store) -> None:
    made = [(await Api.make_key(store, Scope.READ))[0] for _ in range(3)]
    assert await store.keys.all() == made


async def test_a_revoked_key_stays_revoked_since_then(store: Store) -> None:
    key, _ = await Api.make_key(store, Scope.ADMIN)
    before = datetime.now(UTC) - timedelta(seconds=1)
    revoked = await store.keys.revoke(key.id)
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert revoked.revoked_at > before
    assert await store.keys.revoke(key.id) == revoked


async def test_a_key_that_was_never_made_is_none(store: Store) -> None:
    assert await store.keys.find("key-0") is None
    assert await store.keys.revoke("key-0") is None
