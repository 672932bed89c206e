"""What processes that share a Redis do once between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from uuid import uuid4

import pytest

from tasks.once import Once, once_key
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]

LONG_S = 60.0


@pytest.fixture
async def processes(valkey: Valkey) -> AsyncIterator[list[Once]]:
    made = [Once(valkey.url) for _ in range(10)]
    yield made
    for each in made:
        await each.aclose()


async def test_of_many_who_ask_at_once_one_is_first(processes: list[Once]) -> None:
    what = uuid4().hex
    asked = await asyncio.gather(*(each.is_first(what, LONG_S) for each in processes))
    assert asked.count(True) == 1


async def test_whoever_was_first_is_not_so_twice_and_others_are_first_in_other_things(
    processes: list[Once],
) -> None:
    what = uuid4().hex
    assert await processes[0].is_first(what, LONG_S)
    assert not await processes[0].is_first(what, LONG_S)
    assert await processes[1].is_first(uuid4().hex, LONG_S)


async def test_when_the_time_is_over_somebody_is_first_again(processes: list[Once], valkey: Valkey) -> None:
    what = uuid4().hex
    assert await processes[0].is_first(what, LONG_S)
    with valkey.client() as client:
        assert 0 < client.pttl(once_key(what)) <= LONG_S * 1000
        client.delete(once_key(what))
    assert await processes[1].is_first(what, LONG_S)


async def test_where_redis_is_away_everybody_is_first() -> None:
    gone = Valkey()
    async with aclosing(Once(gone.url)) as once:
        assert await once.is_first("anything", LONG_S)
        assert await once.is_first("anything", LONG_S)
    gone.remove()


async def test_a_command_that_is_sent_again_for_want_of_an_answer_is_first_all_the_same(
    valkey: Valkey,
) -> None:
    async with keeping_back_an_answer(valkey) as url, aclosing(Once(url)) as once:
        what = uuid4().hex
        assert await once.is_first(what, LONG_S)
        assert not await once.is_first(what, LONG_S)
    with valkey.client() as client:
        assert client.exists(once_key(what))


@asynccontextmanager
async def keeping_back_an_answer(valkey: Valkey) -> AsyncIterator[str]:
    """A way to ``valkey`` that breaks off once: when the first thing to be done once is claimed there."""
    kept_back: list[bytes] = []

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_read, to_write = await asyncio.open_connection("127.0.0.1", valkey.port)
        while asked := await reader.read(65_536):
            to_write.write(asked)
            answer = await to_read.read(65_536)
            if once_key("").encode() in asked and not kept_back:
                kept_back.append(answer)
                break
            writer.write(answer)
        writer.close()
        to_write.close()

    async with await asyncio.start_server(hand_on, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield valkey.url.replace(f":{valkey.port}/", f":{port}/")
    assert kept_back
