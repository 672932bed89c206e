"""Who asks: from the text of a key, or from the id of one shown before, to what it allows."""

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

from pydantic import SecretStr

from api.problems import Problem
from crucible.models.access import ApiKey, Scope, allows, digest_of, key_id_in
from crucible.store.keys import KeyStore

STACK_KEY_ID = "stack"
"""The id of the key in ``CRUCIBLE_API_KEY``, which is in no store and allows everything."""

PROCESSES_KEY_ID = "processes"
"""The id of the executors' token, by which processes of ours hand in their spans, and do nothing else."""
_OF_PROCESSES_PER_MINUTE = 1_000_000

KEPT_S = 2.0
"""For how long what the store said of a key is believed: a revoked one opens nothing after that."""


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody who showed a key that is good. ``per_minute`` null means the API's own rate."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    per_minute: int | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key has ``scope``; admin has all."""
        return allows(self.scopes, scope)


class _Kept(NamedTuple):
    key: ApiKey
    digest: str
    until: float


class Keyring:
    """The keys that open this API: the stack's own, the executors' token, and those in the store."""

    def __init__(
        self,
        stack_key: SecretStr,
        executor_token: SecretStr,
        keys: KeyStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stack = Access(STACK_KEY_ID, STACK_KEY_ID, frozenset(Scope))
        processes = Access(
            PROCESSES_KEY_ID, PROCESSES_KEY_ID, frozenset({Scope.TRACES}), _OF_PROCESSES_PER_MINUTE
        )
        self._set = tuple(
            (digest_of(secret.get_secret_value()), access)
            for secret, access in ((stack_key, self._stack), (executor_token, processes))
        )
        self._keys, self._clock = keys, clock
        self._kept: dict[str, _Kept] = {}
        self._asking = asyncio.Lock()

    async def by_secret(self, text: str) -> Access:
        """Who holds the key ``text``. Raises a 401 ``Problem`` when it opens nothing.

        A key that is not known and one with a wrong secret are told alike; that it has expired or was
        revoked is told to its holder alone. Raises ``PlatformError`` when the store is away.
        """
        digest = digest_of(text)
        for known, access in self._set:
            if hmac.compare_digest(digest, known):
                return access
        key_id = key_id_in(text)
        kept = None if key_id is None else await self._find(key_id)
        if kept is None or not hmac.compare_digest(digest, kept.digest):
            raise refusal(
                "the bearer key is wrong; send Authorization: Bearer KEY with one that is known here"
            )
        return _opened(kept.key)

    async def by_id(self, key_id: str) -> Access:
        """Who holds the key of that id, which was shown before. Raises as ``by_secret`` does."""
        if key_id == STACK_KEY_ID:
            return self._stack
        kept = await self._find(key_id)
        if kept is None:
            raise refusal("no key has that id any more; show another")
        return _opened(kept.key)

    def is_familiar(self, text: str) -> bool:
        """Whether asking for ``text`` costs nothing worth guarding: its key was good not long ago."""
        kept = self._kept.get(key_id_in(text) or "")
        known = [digest for digest, _ in self._set] if kept is None else [kept.digest]
        return any(hmac.compare_digest(digest_of(text), each) for each in known)

    async def _find(self, key_id: str) -> _Kept | None:
        if kept := self._fresh(key_id):
            return kept
        async with self._asking:  # one asks the store; the others find its answer
            if kept := self._fresh(key_id):
                return kept
            found = await self._keys.find(key_id)
            if found is None:
                self._kept.pop(key_id, None)
                return None
            return self._keep(found)

    def _keep(self, found: tuple[ApiKey, str]) -> _Kept:
        kept = _Kept(*found, self._clock() + KEPT_S)
        self._kept[kept.key.id] = kept
        return kept

    def _fresh(self, key_id: str) -> _Kept | None:
        kept = self._kept.get(key_id)
        return kept if kept is not None and self._clock() < kept.until else None


def refusal(detail: str, challenge: str = 'Bearer error="invalid_token"') -> Problem:
    """The 401 of somebody who may not come in."""
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def _opened(key: ApiKey) -> Access:
    if key.revoked_at is not None:
        raise refusal(f"the key {key.id} was revoked; ask for another")
    if key.has_expired(datetime.now(UTC)):
        raise refusal(f"the key {key.id} has expired; ask for another")
    return Access(key.id, key.name, key.scopes, key.per_minute)
