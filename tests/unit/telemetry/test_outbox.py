"""Spans wait in bounds, and what is lost is counted."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from crucible.telemetry.outbox import Outbox
from prometheus_client import REGISTRY

from crucible.telemetry import outbox as module
from tests.support.waiting import eventually


def lost(reason: str) -> float:
    """How many were lost so until now."""
    return REGISTRY.get_sample_value("crucible_spans_dropped_total", {"reason": reason}) or 0.0


def numbered(count: int) -> list[dict[str, int]]:
    """Records that can be told apart."""
    return [{"number": number} for number in range(count)]


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything put is gathered until the end, which takes as long as it needs."""
    monkeypatch.setattr(module, "_GATHER_S", 60)
    monkeypatch.setattr(module, "_LAST_WITHIN_S", 60)


@pytest.mark.usefixtures("unhurried")
def test_all_that_came_is_written_in_order_by_the_end() -> None:
    written: list[Any] = []
    outbox = Outbox(written.extend)
    outbox.put(numbered(1000))
    outbox.shutdown()
    assert written == numbered(1000)


async def test_what_comes_is_written_soon_without_an_end() -> None:
    written: list[Any] = []
    outbox = Outbox(written.extend)
    for record in numbered(3):
        outbox.put([record])
        await eventually(lambda record=record: record in written)
    outbox.shutdown()


@pytest.mark.usefixtures("unhurried")
def test_what_cannot_be_written_is_lost_and_what_follows_is_not() -> None:
    before = lost("not written")
    faults, written = [ConnectionError("away")], []

    def write(some: Sequence[Any]) -> None:
        if faults:
            raise faults.pop()
        written.extend(some)

    outbox = Outbox(write)
    outbox.put(numbered(250))
    outbox.shutdown()
    assert len(written) == 50
    assert lost("not written") - before == 200


def test_a_place_that_hangs_costs_whoever_puts_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 100)
    monkeypatch.setattr(module, "_LAST_WITHIN_S", 0.1)
    before, hanging = lost("queue full"), threading.Event()
    outbox = Outbox(lambda _some: hanging.wait() and None)
    for record in numbered(1000):
        outbox.put([record])
    assert lost("queue full") - before >= 1000 - 100 - 200
    outbox.shutdown()  # which does not wait for it for long either
    hanging.set()
