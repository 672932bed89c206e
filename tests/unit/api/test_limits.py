"""How often a key may ask: counted by all processes together, and by each alone while Redis is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing

import pytest

from api.guard import Access, RateLimits
from api.problems import Problem
from crucible.models.access import Scope
from crucible.settings import ApiSettings
from tests.support.api import Api
from tests.support.valkey import Valkey, free_port, valkey

__all__ = ["valkey"]

Make = Callable[[str], RateLimits]


@pytest.fixture
async def limits(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes what counts, for one Redis, however late it answers; 5 requests and 3 wrong keys a minute."""
    monkeypatch.setattr("api.guard._ANSWER_S", 60)
    async with AsyncExitStack() as made:

        def make(redis_url: str) -> RateLimits:
            counting = RateLimits(redis_url, ApiSettings(per_minute=5, wrong_keys_per_minute=3))
            made.push_async_exit(aclosing(counting))
            return counting

        yield make


def holder(name: str, per_minute: int | None = None) -> Access:
    return Access(f"key-{name}", name, frozenset({Scope.READ}), per_minute)


async def passed(counting: RateLimits, access: Access, tries: int) -> int:
    """How many of so many requests were let pass."""
    number = 0
    for _ in range(tries):
        try:
            await counting.spend(access)
        except Problem:
            continue
        number += 1
    return number


async def test_a_key_may_ask_as_often_as_is_set(limits: Make, valkey: Valkey) -> None:
    counting = limits(valkey.url)
    assert await passed(counting, holder("one"), 9) == 5
    assert await passed(counting, holder("another"), 9) == 5, "each key is counted by itself"


async def test_a_key_may_have_a_rate_of_its_own(limits: Make, valkey: Valkey) -> None:
    assert await passed(limits(valkey.url), holder("slow", 2), 9) == 2
    assert await passed(limits(valkey.url), holder("fast", 8), 9) == 8


async def test_processes_count_together(limits: Make, valkey: Valkey) -> None:
    first, second = limits(valkey.url), limits(valkey.url)
    access = holder("of both")
    assert await passed(first, access, 3) + await passed(second, access, 9) == 5


async def test_requests_at_once_are_counted_right(limits: Make, valkey: Valkey) -> None:
    counting, access = limits(valkey.url), holder("at once", 50)
    results = await asyncio.gather(*(counting.spend(access) for _ in range(80)), return_exceptions=True)
    assert sum(isinstance(each, Problem) for each in results) == 30


@pytest.mark.usefixtures("still_minute")
async def test_without_redis_each_process_counts_alone_and_nobody_waits_for_it(limits: Make) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    first, second = limits(nowhere), limits(nowhere)
    access = holder("alone")
    assert (await passed(first, access, 9), await passed(second, access, 9)) == (5, 5)


async def test_wrong_keys_of_an_address_are_counted_and_those_of_an_ipv6_network_together(
    limits: Make, valkey: Valkey
) -> None:
    counting = limits(valkey.url)
    for number in range(3):
        await counting.refuse_guessers("2001:db8::1")
        await counting.note_wrong_key(f"2001:db8::{number}")
    with pytest.raises(Problem, match="more than 3 wrong keys"):
        await counting.refuse_guessers("2001:db8::ffff")
    await counting.refuse_guessers("2001:db8:0:1::1")
    await counting.refuse_guessers("192.0.2.1")


@pytest.mark.usefixtures("still_minute")
async def test_one_request_too_many_is_told_when_to_come_back(api: Api) -> None:
    _, text = await api.new_key(Scope.READ, per_minute=2)
    client = api.holder(text)
    assert [(await client.get("/rollout")).status_code for _ in range(2)] == [200, 200]
    response = await client.get("/rollout")
    assert (response.status_code, response.headers["content-type"]) == (429, "application/problem+json")
    wait_s = int(response.headers["retry-after"])
    assert 1 <= wait_s <= 60
    assert response.headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert response.headers["ratelimit"] == f'"key";r=0;t={wait_s}'
    assert "2 requests a minute" in response.json()["detail"]


@pytest.mark.usefixtures("still_minute")
async def test_what_a_key_is_not_allowed_counts_too(api: Api) -> None:
    _, text = await api.new_key(Scope.SUBMIT, per_minute=2)
    client = api.holder(text)
    assert [(await client.get("/rollout")).status_code for _ in range(3)] == [403, 403, 429]
