"""What a controller does with its leases: it works while it has them, and stops before others begin."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from crucible.errors import ServiceUnavailable
from crucible.store import Store, sqlite_url
from flows.duties.leases import DutyLeases
from tests.support.waiting import eventually

DUTY = "a duty"
LONG_S, SHORT_S = 600.0, 0.5


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


def leases(store: Store, owner: str, lease_s: float = LONG_S) -> DutyLeases:
    """Those of one controller."""
    return DutyLeases(store.duties, owner, [DUTY], lease_s)


class Work:
    """Counts its rounds; with ``forever`` a round does not end by itself."""

    def __init__(self, *, forever: bool = False) -> None:
        self.begun = self.cancelled = 0
        self._forever = forever

    async def round(self) -> None:
        """One round."""
        self.begun += 1
        try:
            if self._forever:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def test_work_is_done_by_the_one_that_has_the_lease(store: Store) -> None:
    one, two, work = leases(store, "one"), leases(store, "two"), Work()
    assert not await one.run(DUTY, work.round), "nobody has it yet"
    await one.renew()
    await two.renew()
    assert await one.run(DUTY, work.round)
    assert not await two.run(DUTY, work.round)
    assert work.begun == 1


async def test_what_is_given_up_another_has_at_once(store: Store) -> None:
    one, two, work = leases(store, "one"), leases(store, "two"), Work()
    await one.renew()
    await one.give_up()
    await two.renew()
    assert not await one.run(DUTY, work.round)
    assert await two.run(DUTY, work.round)


async def test_who_cannot_renew_stops_before_another_can_begin(store: Store) -> None:
    """The store of the first is away from here on; the round that is under way is cancelled."""
    one, two = leases(store, "one", SHORT_S), leases(store, "two")
    first, second = Work(forever=True), Work()
    await one.renew()
    running = asyncio.create_task(one.run(DUTY, first.round))

    async def second_has_it() -> None:
        while not await two.run(DUTY, second.round):
            await two.renew()

    async with asyncio.timeout(30):
        await second_has_it()
    assert first.cancelled == 1
    assert await running
    assert not await one.run(DUTY, first.round)


async def test_a_round_goes_on_for_as_long_as_the_lease_is_renewed(store: Store) -> None:
    lease_s = 2.0
    one, work = leases(store, "one", lease_s), Work(forever=True)
    await one.renew()
    running = asyncio.create_task(one.run(DUTY, work.round))
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.5 * lease_s
    while loop.time() < until:
        await one.renew()
        await asyncio.sleep(one.renew_every_s)
    assert (work.begun, work.cancelled) == (1, 0)
    running.cancel()
    await asyncio.wait({running})


async def test_a_round_ends_when_the_store_says_that_another_has_the_duty(store: Store) -> None:
    one, work = leases(store, "one"), Work(forever=True)
    await one.renew()
    running = asyncio.create_task(one.run(DUTY, work.round))
    await eventually(lambda: work.begun == 1)
    await store.duties.give_up("one")
    await leases(store, "two").renew()

    await one.renew()

    assert await running
    assert work.cancelled == 1


async def test_what_fails_fails(store: Store) -> None:
    one = leases(store, "one")
    await one.renew()

    async def fail(error: Callable[[], Exception]) -> None:
        raise error()

    for kind in (lambda: ServiceUnavailable("away"), lambda: TimeoutError("its own")):
        with pytest.raises(type(kind())):
            await one.run(DUTY, lambda kind=kind: fail(kind))  # type: ignore[misc]
    assert await one.run(DUTY, Work().round)
