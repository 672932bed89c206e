"""Requests that may be sent again, and the end of what is kept for them."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import structlog

from api.access import Access
from crucible.errors import PlatformError
from crucible.store import Repeatable
from crucible.store.repeated import RequestStore

_FORGET_EVERY_S = 600.0


class Repeats:
    """Tells requests from each other, and forgets those older than ``kept_h`` hours while it runs."""

    def __init__(self, requests: RequestStore, kept_h: float) -> None:
        self._requests, self._kept = requests, timedelta(hours=kept_h)

    def of(self, access: Access, idempotency_key: str, body: bytes) -> Repeatable:
        """The request of ``access`` with that key and body; what others sent is never the same."""
        digest = hashlib.sha256(body).hexdigest()
        return Repeatable(access.key_id, idempotency_key, digest, self._since())

    async def run(self) -> None:
        """Forget, until cancelled."""
        while True:
            try:
                await self._requests.forget(self._since())
            except PlatformError as error:
                structlog.get_logger().warning("old requests not forgotten", reason=str(error))
            await asyncio.sleep(_FORGET_EVERY_S)

    def _since(self) -> datetime:
        return datetime.now(UTC) - self._kept
