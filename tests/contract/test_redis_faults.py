"""Whatever error a real Redis answers with, clients raise ours, with the server's words and the remedy."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis
import redis.asyncio

from crucible.errors import ServiceUnavailable
from crucible.settings import CelerySettings
from tasks.celery_leg.client import CeleryClient
from tasks.connections import connect, connect_async
from tasks.resilience.breaker import connect_briefly
from tests.support.legs import dispatches
from tests.support.redis_faults import OPTIONS, busy, disk_full, forbidden, loading, out_of_memory, replica
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.valkey import Valkey, free_port

SET = "return redis.call('SET', KEYS[1], ARGV[1])"
WEIRD = "return redis.error_reply('WEIRD 中 something')"

Command = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Place:
    """A server on a small disk."""

    server: Valkey
    disk: SmallDisk


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """The server of this module; every fault is mended at the end of its test."""
    with small_disk() as disk:
        server = Valkey(*OPTIONS, disk=disk.folder)
        server.start()
        try:
            yield Place(server, disk)
        finally:
            server.remove()


@contextmanager
def cluster() -> Iterator[str]:
    """A member of a cluster that has no slots."""
    # By default the bus has a port ten thousand above the server's, which may be another process's.
    server = Valkey("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server.start()
    try:
        yield server.url
    finally:
        server.remove()


@contextmanager
def at(place: Place, fault: str) -> Iterator[str]:
    """The URL of a server that answers with ``fault`` meanwhile."""
    server = place.server
    where = server.url.rpartition("@")[2]
    faults: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "MISCONF": lambda: disk_full(server, place.disk),
        "READONLY": lambda: replica(server),
        "OOM": lambda: out_of_memory(server),
        "LOADING": lambda: loading(server),
        "BUSY": lambda: busy(server),
        "NOPERM": lambda: forbidden(server, "set", "evalsha"),
        "CLUSTERDOWN": cluster,
    }
    elsewhere = {
        "NOAUTH": f"redis://{where}",
        "WRONGPASS": f"redis://:wrong@{where}",
        "does not answer": f"redis://127.0.0.1:{free_port()}",
    }
    if fault in elsewhere:
        yield elsewhere[fault]
    else:
        with faults[fault]() as url:
            yield url or server.url


def in_threads(client: redis.Redis) -> list[Command]:
    """What a client for threads does that writes."""

    async def in_thread(command: Callable[[], object]) -> object:
        return await asyncio.to_thread(command)

    commands: list[Callable[[], Any]] = [
        lambda: client.set("key", "value"),
        lambda: client.pipeline(transaction=False).set("key", "value").execute(),
        lambda: client.pipeline().set("key", "value").execute(),
        lambda: client.register_script(SET)(["key"], ["value"]),
    ]
    return [lambda command=command: in_thread(command) for command in commands]  # type: ignore[misc]


def in_a_loop(client: redis.asyncio.Redis) -> list[Command]:
    """The same for one event loop."""
    return [
        lambda: client.set("key", "value"),
        lambda: client.pipeline(transaction=False).set("key", "value").execute(),
        lambda: client.pipeline().set("key", "value").execute(),
        lambda: client.register_script(SET)(["key"], ["value"]),
    ]


@asynccontextmanager
async def commands_at(url: str, kind: str) -> AsyncIterator[list[Command]]:
    """What a client of that kind does that writes at ``url``."""
    if kind == "threads":
        with connect_briefly(url) as client:
            yield in_threads(client)
    else:
        looping = connect_async(url)
        yield in_a_loop(looping)
        await looping.aclose()


@pytest.mark.parametrize("kind", ["threads", "a loop"])
@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        ("MISCONF", "free some room on its disk"),
        ("READONLY", "wait for the failover to end"),
        ("OOM", "raise its maxmemory"),
        ("LOADING", "it reads its data from disk: wait"),
        ("BUSY", "end it with SCRIPT KILL"),
        ("NOPERM", "allow its user that command"),
        ("CLUSTERDOWN", "name a single server in its URL"),
        ("NOAUTH", "put its password into its URL"),
        ("WRONGPASS", "correct the password in its URL"),
        ("does not answer", "start it, or correct its URL"),
    ],
)
async def test_every_fault_is_ours_with_the_remedy_and_passes(
    place: Place, kind: str, fault: str, remedy: str
) -> None:
    with at(place, fault) as url:
        async with commands_at(url, kind) as commands:
            await asyncio.gather(*(raises(command, f"{fault}.*; .*{remedy}") for command in commands))
    async with commands_at(place.server.url, kind) as commands:
        for command in commands:
            assert await command()


async def raises(command: Command, pattern: str) -> None:
    """Holds ``command`` raises ours, in one line, and without what was sent."""
    with pytest.raises(ServiceUnavailable, match=pattern) as caught:
        await command()
    message = str(caught.value)
    assert message.startswith("Redis at 127.0.0.1:")
    assert "\n" not in message
    assert "value" not in message


async def test_an_error_that_nobody_has_seen_is_one_too(place: Place) -> None:
    pattern = "answers: WEIRD 中 something; see its log"
    with connect(place.server.url, 1) as client:
        with pytest.raises(ServiceUnavailable, match=pattern):
            client.eval(WEIRD, 0)
        with pytest.raises(ServiceUnavailable, match=pattern):
            client.pipeline().eval(WEIRD, 0).execute()
    looping = connect_async(place.server.url)
    with pytest.raises(ServiceUnavailable, match=pattern):
        await looping.eval(WEIRD, 0)
    with pytest.raises(ServiceUnavailable, match=pattern):
        await looping.pipeline(transaction=False).eval(WEIRD, 0).execute()
    await looping.aclose()


async def test_what_the_caller_asks_or_does_wrong_is_no_fault_of_a_server(place: Place) -> None:
    looping = connect_async(place.server.url)
    with pytest.raises(redis.ResponseError, match="no such key"):
        await looping.xinfo_stream("no stream")
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        await looping.xreadgroup("group", "reader", {"no stream": ">"})
    with pytest.raises(redis.DataError):
        await looping.set("key", object())  # type: ignore[arg-type]
    await looping.aclose()


@pytest.mark.parametrize("kind", ["threads", "a loop"])
async def test_a_server_that_becomes_a_replica_is_not_kept_hold_of(place: Place, kind: str) -> None:
    # After a failover the address of the primary leads to another server, for those who connect anew.
    async with commands_at(place.server.url, kind) as commands:
        for command in commands:
            await command()
        before = connections(place.server)
        with replica(place.server):
            for command in commands:
                await raises(command, "READONLY")
        for command in commands:
            assert await command()
        assert not before & connections(place.server)


async def test_a_sender_of_celery_messages_shows_none_of_them(place: Place) -> None:
    client = CeleryClient(place.server.url, CelerySettings())
    with replica(place.server):
        await raises(lambda: client.send(dispatches(1, prefix="value")), "answers: READONLY You can't write")
    await client.send(dispatches(1))
    await client.aclose()


def connections(server: Valkey) -> set[str]:
    """The ids of the connections from elsewhere than here."""
    with server.client() as client:
        own = client.client_id()
        return {each["id"] for each in client.client_list() if each["id"] != str(own)}
