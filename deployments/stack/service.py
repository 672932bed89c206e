"""One service of the stack, as a value, and the conditions under which it counts as ready."""

import asyncio
import errno
import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Protocol

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from crucible.errors import SettingsError, StackError

LOOPBACK = "127.0.0.1"

_FREE_RANGE = range(20_000, 30_000)
"""Below the range that the kernel takes for outgoing connections: none of those can get in first."""
_BLOCK = 100
_LAST = 65_535
_NONE_FREE = f"no free port found on {LOOPBACK} in {_FREE_RANGE}; stop what uses them"


def choose_ports(wished: Mapping[str, int]) -> dict[str, int]:
    """A port for each variable: the wished one, or for 0 one that is free now.

    Raises ``SettingsError`` naming the variable whose port cannot be had.
    """
    with ExitStack() as held:
        named = {name: _take(name, port, held) for name, port in wished.items() if port}
        return {name: named.get(name) or _take_free(held) for name in wished}


def _take(variable: str, port: int, held: ExitStack) -> int:
    if port > _LAST:
        raise SettingsError(f"{variable}={port}: there is no such port, the last is {_LAST}; set a lower one")
    try:
        _bind(port, held)
    except OSError as error:
        why = "it is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise SettingsError(
            f"{variable}={port}: no server can listen on {LOOPBACK}:{port}, {why};"
            " stop what listens there, or set another port (0: any free one)"
        ) from error
    return port


def _take_free(held: ExitStack) -> int:
    blocks = map(_own_block, count())
    for port in chain.from_iterable(random.SystemRandom().sample(block, _BLOCK) for block in blocks):
        with suppress(OSError):
            _bind(port, held)
            return port
    raise StackError(_NONE_FREE)


@cache
def _own_block(_number: int) -> range:
    """Ports that no other process chooses from until this one ends, however late each is listened on.

    Whose they are is shown by a name in the kernel, which frees it by itself. Raises ``StackError``.
    """
    firsts = _FREE_RANGE[::_BLOCK]
    for first in random.SystemRandom().sample(firsts, len(firsts)):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as name:
            name.bind(f"\0crucible-ports-{first}")
            name.detach()
            return range(first, first + _BLOCK)
    raise StackError(_NONE_FREE)


def _bind(port: int, held: ExitStack) -> None:
    with ExitStack() as unless_bound:
        probe = unless_bound.enter_context(socket.socket())
        # A port whose last connections are still being wound up can be listened on again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        # Only a port that is listened on is refused to the next one who asks for it in this way.
        probe.listen()
        held.enter_context(unless_bound.pop_all())


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
