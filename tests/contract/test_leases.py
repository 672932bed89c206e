"""Leases on a real server: a host that lives is seen to, one that has gone is not."""

import time
from uuid import uuid4

from tasks.background import BackgroundServices
from tasks.leases import Departed, Lease, host_key
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]


async def test_a_host_has_a_lease_for_as_long_as_it_is_open(valkey: Valkey) -> None:
    one, two = (Lease(valkey.url, f"host-{uuid4().hex}", lease_s=10) for _ in range(2))
    await one.open(BackgroundServices())
    assert await one.alive([one.owner, two.owner]) == {one.owner}
    await two.open(BackgroundServices())
    assert await one.alive([one.owner, two.owner]) == {one.owner, two.owner}
    await two.close()
    assert await one.alive([one.owner, two.owner]) == {one.owner}
    await one.close()


async def test_a_lease_that_redis_lost_is_taken_again(valkey: Valkey) -> None:
    lease = Lease(valkey.url, f"host-{uuid4().hex}", lease_s=0.4)
    await lease.open(BackgroundServices())
    client = valkey.client()
    client.delete(host_key(lease.owner))

    await eventually(lambda: bool(client.exists(host_key(lease.owner))))
    await lease.close()


async def test_a_host_that_no_longer_renews_is_gone_when_its_time_is_over(valkey: Valkey) -> None:
    owner = f"host-{uuid4().hex}"
    client = valkey.client()
    client.set(host_key(owner), "elsewhere:1", px=50)
    lease = Lease(valkey.url, "host-that-looks", lease_s=10)
    await eventually(lambda: not client.exists(host_key(owner)))
    assert await lease.alive([owner]) == set()
    await lease.close()


async def test_who_has_no_lease_is_dead_after_a_while_and_never_the_one_that_looks(valkey: Valkey) -> None:
    own, dead = Lease(valkey.url, f"host-{uuid4().hex}", lease_s=1), f"host-{uuid4().hex}"
    await own.open(BackgroundServices())
    departed = Departed(own)
    found: list[str] = []
    began = time.monotonic()

    while not found:
        found = await departed.among([own.owner, dead])

    assert found == [dead]
    assert time.monotonic() - began >= own.lease_s / 2
    await own.close()


async def test_who_has_a_lease_again_is_dead_only_after_another_while(valkey: Valkey) -> None:
    looking, other = Lease(valkey.url, f"host-{uuid4().hex}", lease_s=1), f"host-{uuid4().hex}"
    await looking.open(BackgroundServices())
    departed, client = Departed(looking), valkey.client()
    while not await departed.among([other]):
        pass

    client.set(host_key(other), "elsewhere:1")
    assert await departed.among([other]) == []
    client.delete(host_key(other))
    assert await departed.among([other]) == []
    await looking.close()


async def test_nobody_is_dead_to_one_that_has_no_lease_itself(valkey: Valkey) -> None:
    looking, other = Lease(valkey.url, f"host-{uuid4().hex}", lease_s=0), f"host-{uuid4().hex}"
    departed, client = Departed(looking), valkey.client()
    assert [await departed.among([other]) for _ in range(2)] == [[], []], "as where Redis takes no lease"
    client.set(host_key(looking.owner), "here:1")
    assert await departed.among([other]) == [other]
    await looking.close()
