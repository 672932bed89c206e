"""Requests that may be sent again, and the end of what is kept for them."""

import hashlib
from datetime import UTC, datetime, timedelta

from api.guard import Access
from crucible.store import Repeatable
from crucible.store.keys import RequestStore
from tasks.background import BackgroundServices

_FORGET_EVERY_S = 600.0


class Repeats:
    """Tells requests from each other, and forgets those older than ``kept_h`` hours."""

    def __init__(self, requests: RequestStore, kept_h: float) -> None:
        self._requests, self._kept = requests, timedelta(hours=kept_h)

    def of(self, access: Access, idempotency_key: str, body: bytes) -> Repeatable:
        """The request of ``access`` with that key and body; what others sent is never the same."""
        digest = hashlib.sha256(body).hexdigest()
        return Repeatable(access.key_id, idempotency_key, digest, self._since())

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` forget from now on."""
        background.every(_FORGET_EVERY_S, "old requests", self._forget, required=False)

    async def _forget(self) -> None:
        await self._requests.forget(self._since())

    def _since(self) -> datetime:
        return datetime.now(UTC) - self._kept
