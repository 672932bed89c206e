"""The API keys in the store: who holds one, what it allows, and the digest that proves it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from crucible.errors import StoreError
from crucible.models.access import ApiKey, Scope, digest_of
from crucible.store.database import Database
from crucible.store.front_tables import api_keys


class KeyStore:
    """API keys. Every method raises what ``Store``'s methods raise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: ApiKey, text: str) -> None:
        """Keep a new key; of its ``text`` only the digest is written."""
        values = {
            "id": key.id,
            "name": key.name,
            "digest": digest_of(text),
            "scopes": " ".join(sorted(key.scopes)),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "per_minute": key.per_minute,
        }
        async with self._database.write() as connection:
            await connection.execute(insert(api_keys), values)

    async def find(self, key_id: str) -> tuple[ApiKey, str] | None:
        """The key of that id and the digest of its text; null when there is none."""
        async with self._database.read() as connection:
            found = await connection.execute(select(api_keys).where(api_keys.c.id == key_id))
            row = found.one_or_none()
        return None if row is None else (_key_of(row), row.digest)

    async def all(self) -> Sequence[ApiKey]:
        """Every key there ever was, the oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(api_keys).order_by(api_keys.c.id))
            return [_key_of(row) for row in rows]

    async def revoke(self, key_id: str) -> ApiKey | None:
        """Let a key open nothing any more; null when there is none. One revoked before stays as it is."""
        unrevoked = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        async with self._database.write() as connection:
            await connection.execute(unrevoked.values(revoked_at=datetime.now(UTC)))
        found = await self.find(key_id)
        return None if found is None else found[0]


def _key_of(row: Row[Any]) -> ApiKey:
    known = {scope.value for scope in Scope}
    scopes = row.scopes.split()
    if unknown := sorted(set(scopes) - known):
        raise StoreError(f"key {row.id} has the scope {unknown[0]!r}, of a newer Crucible; run that one")
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=frozenset(map(Scope, scopes)),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        per_minute=row.per_minute,
    )
