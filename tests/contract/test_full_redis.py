"""A Redis without room, on a real server: whatever writes there waits, and goes on once there is room."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from crucible.errors import ServiceUnavailable
from crucible.settings import LegacySettings
from tasks.background import BackgroundServices
from tasks.cancellation import Cancellations
from tasks.events import EVENTS_KEY, EventKind, EventLog
from tasks.leases import Lease, host_key
from tasks.legacy_leg.client import LegacyClient
from tests.support.legs import dispatches
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]


@contextmanager
def full(server: Valkey) -> Iterator[None]:
    """Has ``server`` no room for anything."""
    with server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


async def test_a_lease_is_renewed_when_there_is_room_again(valkey: Valkey) -> None:
    lease = Lease(valkey.url, f"host-{uuid4().hex}", lease_s=0.4)
    await lease.open(BackgroundServices())
    with valkey.client() as client:
        with full(valkey):
            await eventually(lambda: not client.exists(host_key(lease.owner)))
        await eventually(lambda: bool(client.exists(host_key(lease.owner))))
    await lease.close()


async def test_events_wait_for_room(valkey: Valkey) -> None:
    log, background = EventLog(valkey.url), BackgroundServices()
    log.open(background)
    with full(valkey):
        log.put(EventKind.SETTLED, {"id": "ev-1"})
        await eventually(lambda: background.states()[0].failures > 1)
    with valkey.client() as client:
        await eventually(lambda: client.xlen(EVENTS_KEY) == 1)
    await log.close()


async def test_who_sends_or_cancels_is_told_that_it_cannot_be_now(valkey: Valkey) -> None:
    legacy, cancellations = LegacyClient(valkey.url, LegacySettings()), Cancellations(valkey.url, {})
    with full(valkey):
        with pytest.raises(ServiceUnavailable):
            await legacy.send(dispatches(1))
        with pytest.raises(ServiceUnavailable):
            await cancellations.mark(["ev-1"])
    await legacy.aclose()
    await cancellations.aclose()
