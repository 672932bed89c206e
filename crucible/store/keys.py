"""API keys, and requests that may be sent again: what each submitted is kept."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.errors import InputError, StoreError
from crucible.models.access import ApiKey, Scope, digest_of
from crucible.store.database import Database
from crucible.store.tables import api_keys, requests


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


class Repeatable(NamedTuple):
    """A request by the key that its sender chose for it, and the API key whose sender that is.

    ``digest`` is of its body. One that was made before ``since`` is forgotten, and may be made anew.
    """

    api_key: str
    idempotency_key: str
    digest: str
    since: datetime


class RequestReused(InputError):
    """The same key came with another body before. The caller's fault; nothing was submitted."""


class RequestStore:
    """What requests have submitted. Every method raises what ``Store``'s methods raise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, request: Repeatable) -> Sequence[str] | None:
        """What the same request submitted before; null when it was not made. Raises ``RequestReused``."""
        async with self._database.read() as connection:
            return await _earlier(connection, request)

    async def forget(self, before: datetime) -> int:
        """Forget requests made before then; how many."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(requests).where(requests.c.at < before))).rowcount


async def enter_request(
    connection: AsyncConnection, request: Repeatable, ids: Sequence[str], *, on_sqlite: bool
) -> Sequence[str] | None:
    """Note that ``request`` submits ``ids``, or, where it was made before, give what it submitted then.

    Of two at once the second waits for the first, in either database. Raises ``RequestReused``.
    """
    new = sqlite.insert(requests) if on_sqlite else postgresql.insert(requests)
    values = {
        "api_key": request.api_key,
        "idempotency_key": request.idempotency_key,
        "digest": request.digest,
        "evaluation_ids": " ".join(ids),
        "at": datetime.now(UTC),
    }
    anew = new.on_conflict_do_update(
        index_elements=[requests.c.api_key, requests.c.idempotency_key],
        set_={name: new.excluded[name] for name in ("digest", "evaluation_ids", "at")},
        where=requests.c.at < request.since,
    )
    if (await connection.execute(anew, values)).rowcount == 1:
        return None
    return await _earlier(connection, request)


async def _earlier(connection: AsyncConnection, request: Repeatable) -> Sequence[str] | None:
    found = await connection.execute(
        select(requests.c.digest, requests.c.evaluation_ids).where(
            requests.c.api_key == request.api_key,
            requests.c.idempotency_key == request.idempotency_key,
            requests.c.at >= request.since,
        )
    )
    row = found.one_or_none()
    if row is None:
        return None
    if row.digest != request.digest:
        raise RequestReused(
            f"the Idempotency-Key {request.idempotency_key!r} came with another body before; choose a new one"
        )
    ids: Sequence[str] = row.evaluation_ids.split()
    return ids
