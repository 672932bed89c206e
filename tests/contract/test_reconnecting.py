"""Commands whose connection is lost, on a real server: sent again, told and counted, and not for ever."""

import asyncio
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio
from structlog.testing import capture_logs

from crucible.errors import ServiceUnavailable
from tasks.connections import connect, connect_async
from tests.support.valkey import Valkey


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A server that a test may stop."""
    started = Valkey()
    started.start()
    yield started
    started.remove()


def cut_all(server: Valkey) -> None:
    """Closes every connection but the one that says so."""
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


def test_a_command_is_sent_again_over_a_new_connection(server: Valkey) -> None:
    with connect(server.url, 2) as client, capture_logs() as lines:
        client.set("key", "value")
        cut_all(server)
        assert client.get("key") == b"value"
    assert {each["dependency"] for each in lines} <= {f"Redis at 127.0.0.1:{server.port}"}


async def test_so_it_is_in_an_event_loop(server: Valkey) -> None:
    client = connect_async(server.url)
    await client.set("key", "value")
    cut_all(server)
    assert await client.get("key") == b"value"
    await client.aclose()


async def test_a_server_that_stays_away_is_given_up_after_bounded_attempts(server: Valkey) -> None:
    server.stop()
    with connect(server.url, 2) as client, capture_logs() as lines, pytest.raises(ServiceUnavailable):
        client.get("key")
    assert [each["attempt"] for each in lines]
    assert len(lines) <= 36, "six attempts to send, with six to connect in each"
    looping = connect_async(server.url)
    with pytest.raises(ServiceUnavailable):
        await looping.get("key")
    await looping.aclose()


def test_an_error_of_the_command_itself_is_not_sent_again(server: Valkey) -> None:
    with connect(server.url, 2) as client, capture_logs() as lines:
        client.set("key", "no number")
        with pytest.raises(ServiceUnavailable, match="not an integer"):
            client.incr("key")
    assert lines == []


async def endlessly(client: redis.asyncio.Redis) -> None:
    while True:
        await client.mget(["key"])


async def test_a_task_that_is_cancelled_ends_wherever_its_command_is_just_then(server: Valkey) -> None:
    client = connect_async(server.url)
    going_on = False
    for steps in range(200):
        task = asyncio.create_task(endlessly(client))
        for _ in range(steps % 20):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        if going_on := not task.done():
            break
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    await client.aclose()
    assert not going_on


async def test_a_task_that_is_cancelled_while_it_sends_does_not_wait_for_the_reply(server: Valkey) -> None:
    client = connect_async(server.url, 1)
    await client.ping()
    for steps in range(1, 20):
        waiting = asyncio.create_task(client.xread({"nothing": "0-0"}, block=600_000))
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting}, timeout=60)
        assert waiting.cancelled(), steps
        assert await client.echo(str(steps)) == str(steps).encode(), "the next command has its own reply"
    await client.aclose()
