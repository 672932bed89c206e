"""Has something done by one process of many: by whoever asks first. No process is above the others."""

from contextlib import suppress
from uuid import uuid4

from crucible.errors import ServiceUnavailable
from tasks.connections import connect_async


def once_key(what: str) -> str:
    """Key that is there while ``what`` is somebody's."""
    return f"crucible:once:{what}"


class Once:
    """What processes that share the Redis at ``redis_url`` do once between them."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect_async(redis_url, 2)

    async def is_first(self, what: str, for_s: float) -> bool:
        """Whether nobody has asked for ``what`` within the last ``for_s`` seconds.

        True where Redis is away: twice is better than not at all.
        """
        asked = uuid4().hex.encode()  # a command that is sent again finds its own
        try:
            found = await self._redis.set(once_key(what), asked, nx=True, get=True, px=int(for_s * 1000))
        except ServiceUnavailable:
            return True
        return found is None or found == asked

    async def keep(self, what: str, for_s: float) -> None:
        """Let nobody be first in ``what`` for so long: it is done. Nothing happens where Redis is away."""
        with suppress(ServiceUnavailable):
            await self._redis.set(once_key(what), b"", px=int(for_s * 1000))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
