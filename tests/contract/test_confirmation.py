"""In which groups mismatches are confirmed, and when. Ledger and events are real, re-runs are played."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from crucible.ids import new_evaluation_id
from crucible.models import Comparison
from crucible.store import Store, Submission, sqlite_url
from flows.duties import reruns as module
from flows.duties.reruns import CROWD, Confirmation
from flows.host import FlowHost
from tasks.background import BackgroundServices
from tasks.events import EventKind, EventLog, EventReader
from tests.support.ledger import evaluation
from tests.support.traffic import differing, matched, submitted
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["valkey"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


class ReRuns:
    """Plays the re-runs of one controller; notes the groups, and what was told of which evaluation."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.groups: list[list[str]] = []
        self.told: list[tuple[EventKind, str]] = []
        self.faults: list[Exception] = []
        self.go = asyncio.Event()
        self.go.set()

    def tell(self, kind: EventKind, comparison: Comparison) -> None:
        """As a flow host."""
        self.told.append((kind, comparison.evaluation_id))

    async def confirm(self, _host: FlowHost, group: Sequence[Comparison]) -> list[Comparison]:
        """As ``flows.confirm.confirm``."""
        self.groups.append([each.evaluation_id for each in group])
        await self.go.wait()
        if self.faults:
            raise self.faults.pop()
        results = [each.model_copy(update={"reruns": 3}) for each in group]
        for each in results:
            assert await self.store.reclassify(each)
        return results


@pytest.fixture
async def reruns(store: Store, monkeypatch: pytest.MonkeyPatch) -> ReRuns:
    """Those of one controller."""
    made = ReRuns(store)
    monkeypatch.setattr(module, "confirm", made.confirm)
    return made


@asynccontextmanager
async def confirming(valkey: Valkey, reruns: ReRuns) -> AsyncIterator[Confirmation]:
    """The duty, under way."""
    services = BackgroundServices()
    host = cast("FlowHost", reruns)
    async with aclosing(EventReader(valkey.url)) as events, aclosing(Confirmation(host, events)) as duty:

        async def rounds(duty: Confirmation, _service: object) -> None:
            while True:
                await duty.round()
                await duty.wait()

        services.keep("events", duty.follow, bound_s=60)
        services.keep("rounds", partial(rounds, duty), bound_s=60)
        yield duty
        await services.aclose()


async def mismatches(store: Store, number: int) -> list[str]:
    """Ids of so many mismatches of traffic that were never run again."""
    ids = await submitted(store, number)
    await store.settle([differing(each) for each in ids])
    return ids


async def all_confirmed(store: Store) -> None:
    """Returns when nothing is unconfirmed."""
    async with asyncio.timeout(60):
        while await store.rollout.unconfirmed(1):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def test_a_few_mismatches_are_confirmed_each_on_its_own(
    valkey: Valkey, store: Store, reruns: ReRuns
) -> None:
    ids = await mismatches(store, 3)
    async with confirming(valkey, reruns):
        await all_confirmed(store)
    assert sorted(reruns.groups) == [[each] for each in ids]
    assert reruns.told == [], "those who confirm tell of it"


async def test_a_crowd_of_mismatches_is_confirmed_together(
    valkey: Valkey, store: Store, reruns: ReRuns
) -> None:
    ids = await mismatches(store, 10 * CROWD)
    async with confirming(valkey, reruns):
        await all_confirmed(store)
    assert len(reruns.groups) < CROWD
    assert sorted(each for group in reruns.groups for each in group) == ids


async def test_what_finds_no_room_waits_in_the_ledger_and_is_fetched(
    valkey: Valkey, store: Store, reruns: ReRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 4)
    ids = await mismatches(store, 15)
    async with confirming(valkey, reruns):
        await all_confirmed(store)
    assert sorted(each for group in reruns.groups for each in group) == ids


async def test_a_confirmation_that_fails_is_told_tried_again_later_and_does_not_stop_the_others(
    valkey: Valkey, store: Store, reruns: ReRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN_AFTER_S", 0.5)
    reruns.faults = [ConnectionError("no Prefect")]
    ids = await mismatches(store, 5)
    async with confirming(valkey, reruns) as duty:
        await eventually(lambda: bool(reruns.told))
        ((kind, failed),) = reruns.told
        assert kind is EventKind.CONFIRMED
        while len(reruns.groups) < 6:
            await duty.round()
            await asyncio.sleep(0.01)
        await all_confirmed(store)
    assert sorted(each for (each,) in reruns.groups) == sorted([*ids, failed])


async def test_an_event_has_a_mismatch_confirmed_without_waiting_for_the_next_look(
    valkey: Valkey, store: Store, reruns: ReRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 3600.0)
    events = EventLog(valkey.url)
    background = BackgroundServices()
    events.open(background)
    async with confirming(valkey, reruns) as duty:
        await eventually(lambda: not duty._due.is_set())
        matching, (differs,) = await matched(store, 1), await mismatches(store, 1)
        for evaluation_id, kind in ((matching[0], "match"), (differs, "mismatch")):
            events.put(EventKind.SETTLED, {"id": evaluation_id, "classification": kind})
        await all_confirmed(store)
    await events.close()
    await background.aclose()
    assert reruns.groups == [[differs]]


async def test_a_mismatch_that_was_settled_here_is_confirmed_though_it_is_no_traffic(
    valkey: Valkey, store: Store, reruns: ReRuns
) -> None:
    evaluation_id = new_evaluation_id()
    await store.submit([Submission(evaluation_id, evaluation())])
    (first,) = (await store.settle([differing(evaluation_id)])).comparisons
    async with confirming(valkey, reruns) as duty:
        duty.put(first)
        duty.put(first)
        await eventually(lambda: reruns.groups == [[evaluation_id]])


async def test_what_another_controller_has_confirmed_by_now_is_not_run_again(
    valkey: Valkey, store: Store, reruns: ReRuns
) -> None:
    first, waits, _ = await mismatches(store, 3)
    reruns.go.clear()
    async with confirming(valkey, reruns):
        await eventually(lambda: len(reruns.groups) == 2)
        (third,) = set(await store.rollout.unconfirmed(9)) - {first, waits}
        assert await store.reclassify(differing(third).model_copy(update={"reruns": 3}))
        reruns.go.set()
        await all_confirmed(store)
    assert [third] not in reruns.groups
