"""Which processes live, and how their background services are: leases and reports in Redis.

Keys, in the Redis of the replies: ``crucible:host:{owner}`` ends soon after a flow host stops renewing it.
Nothing rests on them but who goes on with what is open: a host that was taken for dead and comes back answers
late, which changes nothing. ``crucible:services`` is the set of processes, ``crucible:services:{process}``
the latest report of one, which ends by itself soon after its process stops renewing it.
"""

import contextlib
import os
import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import cast

import redis.asyncio
from pydantic import TypeAdapter, ValidationError

from crucible.errors import ServiceUnavailable
from tasks.background import BackgroundServices, ServiceState
from tasks.connections import connect, connect_async

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

    Not who is without one for a moment, as all are when Redis has lost what it knew. While the host that
    looks has no lease either, nobody is dead: a Redis that refuses writes, as where its disk is full, lets
    nobody renew one.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._missing_since: dict[str, float] = {}

    async def among(self, owners: Collection[str]) -> list[str]:
        """Who of ``owners`` is dead; the own one never is. To be asked again and again.

        Raises ``ServiceUnavailable`` when Redis cannot be used.
        """
        own = self._lease.owner
        alive = await self._lease.alive({*owners, own})
        missing = set(owners) - alive - {own} if own in alive else set()
        now = time.monotonic()
        self._missing_since = {each: self._missing_since.get(each, now) for each in missing}
        grace_s = self._lease.lease_s / 2
        return [each for each, since in self._missing_since.items() if now - since >= grace_s]


PROCESSES_KEY = "crucible:services"

_EVERY_S = 2.0
_REPORT_TTL_S = 15


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """The background services of one process, named by what it is, its host and its process id."""

    process: str
    services: tuple[ServiceState, ...]


class ServiceReports:
    """Reports the background services of this process, which is called ``name``, every two seconds."""

    def __init__(self, redis_url: str, name: str, background: BackgroundServices) -> None:
        self._process = f"{name}@{socket.gethostname()}:{os.getpid()}"
        self.background = background
        self._redis = connect(redis_url, 2)

    @property
    def own(self) -> ProcessReport:
        """The report of this process as of now."""
        return ProcessReport(self._process, self.background.states())

    def open(self) -> None:
        """Have the background report from now on."""
        self.background.every_in_thread(_EVERY_S, "service reports", self._report, required=False)

    def close(self) -> None:
        """Take the report back: the process ends. Its background services must have ended."""
        with suppress(ServiceUnavailable):  # then it ends by itself
            self._redis.delete(report_key(self._process))
            self._redis.srem(PROCESSES_KEY, self._process)
        self._redis.close()

    def _report(self) -> None:
        body = _report_type().dump_json(self.own)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.sadd(PROCESSES_KEY, self._process)
        pipeline.set(report_key(self._process), body, ex=_REPORT_TTL_S)
        pipeline.execute()


def report_key(process: str) -> str:
    """Key of the latest report of ``process``."""
    return f"{PROCESSES_KEY}:{process}"


async def read_reports(client: redis.asyncio.Redis) -> list[ProcessReport]:
    """The latest reports of all processes, by name; forgets those that have not reported for long.

    One that another version wrote and this one cannot read is left out. Raises ``ServiceUnavailable``.
    """
    found = cast("set[bytes]", await client.smembers(PROCESSES_KEY))
    processes = sorted(each.decode() for each in found)
    if not processes:
        return []
    bodies = cast("Sequence[bytes | None]", await client.mget([report_key(each) for each in processes]))
    gone = [process for process, body in zip(processes, bodies, strict=True) if body is None]
    if gone:
        await client.srem(PROCESSES_KEY, *gone)
    reports = []
    for body in filter(None, bodies):
        with suppress(ValidationError):
            reports.append(_report_type().validate_json(body))
    return reports


@cache
def _report_type() -> TypeAdapter[ProcessReport]:
    return TypeAdapter(ProcessReport)
