"""Which flow hosts live: each keeps a key that ends soon after it stops renewing it.

Keys, in the Redis of the replies: ``crucible:host:{owner}``. Nothing rests on them but who goes on
with what is open: a host that was taken for dead and comes back answers late, which changes nothing.
"""

import contextlib
import os
import socket
import time
from collections.abc import Collection

from crucible.errors import ServiceUnavailable
from tasks.background import BackgroundServices
from tasks.connections import connect_async

_SERVICE = "host lease"
_RENEWALS = 4
"""Times a lease is renewed before it would end."""


def host_key(owner: str) -> str:
    """Key that lives as long as the flow host does."""
    return f"crucible:host:{owner}"


class Lease:
    """The lease of this process's flow host ``owner``, and a view of those of others."""

    def __init__(self, redis_url: str, owner: str, lease_s: float) -> None:
        self.owner = owner
        self.lease_s = lease_s
        self._redis = connect_async(redis_url, 2)
        self._background: BackgroundServices | None = None

    async def open(self, background: BackgroundServices) -> None:
        """Take the lease, and have ``background`` renew it; a Redis that is away gets it when it comes."""
        with contextlib.suppress(ServiceUnavailable):
            await self._renew()
        self._background = background
        background.every(self.lease_s / _RENEWALS, _SERVICE, self._renew)

    async def close(self) -> None:
        """Give the lease up: what is still open in this host's name is for others."""
        if self._background is not None:
            await self._background.end(_SERVICE)
            with contextlib.suppress(ServiceUnavailable):
                await self._redis.delete(host_key(self.owner))
        await self._redis.aclose()

    async def alive(self, owners: Collection[str]) -> set[str]:
        """Which of ``owners`` have a lease. Raises ``ServiceUnavailable`` when Redis cannot be used."""
        asked = list(owners)
        if not asked:
            return set()
        found = await self._redis.mget([host_key(each) for each in asked])
        return {owner for owner, lease in zip(asked, found, strict=True) if lease is not None}

    async def _renew(self) -> None:
        where = f"{socket.gethostname()}:{os.getpid()}"
        await self._redis.set(host_key(self.owner), where, px=int(self.lease_s * 1000))


class Departed:
    """Tells which hosts are dead: who has no lease for half of what one lasts, seen by whoever has ``lease``.

    Not who is without one for a moment, as all are when Redis has lost what it knew.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._missing_since: dict[str, float] = {}

    async def among(self, owners: Collection[str]) -> list[str]:
        """Who of ``owners`` is dead; the own one never is. To be asked again and again.

        Raises ``ServiceUnavailable`` when Redis cannot be used.
        """
        missing = set(owners) - await self._lease.alive(owners) - {self._lease.owner}
        now = time.monotonic()
        self._missing_since = {each: self._missing_since.get(each, now) for each in missing}
        grace_s = self._lease.lease_s / 2
        return [each for each, since in self._missing_since.items() if now - since >= grace_s]
