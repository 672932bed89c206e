"""One service of the stack, as a value, and the conditions under which it counts as ready."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

_READY_LINE = b"CRUCIBLE_READY"
_ANSWER_S = 2.0
_WRITE_KEY = "crucible:ready"


class Ready(Protocol):
    """Asks once; ``output`` is the service's log and ``start`` where its present process began it."""

    async def holds(self, output: Path, start: int, /) -> bool:
        """Whether the service is ready now; never raises for one that is not."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """A server that answers: a write for a ``redis://`` URL, ``GET`` with 200 for an HTTP one."""

    url: str

    async def holds(self, _output: Path, _start: int, /) -> bool:
        """Whether it answers now."""
        return await fault_of(self.url) is None


class Prints:
    """A process that says so, with ``CRUCIBLE_READY`` on a line of its own on standard output."""

    async def holds(self, output: Path, start: int, /) -> bool:
        """Whether it has said so since it was started."""
        with output.open("rb") as log:
            log.seek(start)
            return _READY_LINE in log.read().splitlines()


class Tier(IntEnum):
    """Services of a higher tier use those of lower ones, and so are stopped before them."""

    SERVERS = 0
    EXECUTORS = 1
    WORKERS = 2
    DOORS = 3


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What to run, and how to know that it is ready.

    ``environment`` is all that the process sees. It is started once the services named in ``after``
    are ready. Its readable standard output goes to its log. ``url`` is for people and shows no secret.
    ``niceness`` is how far it stands back for others when the CPU is short, as ``nice`` says it.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    ready: Ready
    tier: Tier
    url: str | None = None
    after: tuple[str, ...] = ()
    folder: Path | None = None
    niceness: int = 0


async def fault_of(url: str) -> str | None:
    """What keeps the server at ``url`` from answering; none when it does."""
    return await (_http_fault(url) if url.startswith("http") else _redis_fault(url))


async def _redis_fault(url: str) -> str | None:
    try:
        async with Redis.from_url(url, socket_connect_timeout=_ANSWER_S, socket_timeout=_ANSWER_S) as client:
            await client.set(_WRITE_KEY, 1, ex=1)  # one that is full, or a replica, answers pings
    except (RedisError, OSError, ValueError) as error:
        # redis-py takes a cancellation that comes as it connects for a lost connection.
        asking = asyncio.current_task()
        if asking is not None and asking.cancelling():
            raise asyncio.CancelledError from error
        return _one_line(error)
    return None


async def _http_fault(url: str) -> str | None:
    # Proxies and certificates are for servers elsewhere; reading certificates takes longer than the answer.
    elsewhere = url.startswith("https:")
    try:
        async with httpx.AsyncClient(verify=elsewhere, trust_env=elsewhere, timeout=_ANSWER_S) as client:
            response = await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _one_line(error)
    return None if response.status_code == httpx.codes.OK else f"it answers {response.status_code}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
