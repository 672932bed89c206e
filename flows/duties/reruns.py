"""Has evaluations run again: mismatches until each is confirmed or noise, some by lot, and sentinels."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import orjson
import structlog

from crucible.compare import answer
from crucible.ids import new_evaluation_id
from crucible.models import Classification, Comparison, Observation
from crucible.rollout.stage import Stage, is_within
from crucible.store import NOISE_RUN, Store, Submission, Ticket, Work
from flows.confirm import confirm
from flows.duties.janitor import Queue
from flows.duties.leases import Checkpoint
from flows.host import FlowHost
from tasks.background import BackgroundService
from tasks.dispatch import Dispatch
from tasks.events import EventKind, EventReader, StoredEvent
from tasks.exchange import Answer

_EVERY_S = 5.0
CROWD = 20
"""When so many wait, they are confirmed together: alone, each takes flow runs of its own."""
MOST_WAITING = 1000
"""Mismatches that may wait here; more of them wait in the ledger."""

_AT_ONCE = 2
_MOST_TOGETHER = 200
_AGAIN_AFTER_S = 10.0
"""Seconds after which a mismatch that could not be run again is tried once more."""
_GATHER_S = 0.05
_EVENTS_AT_ONCE = 500
_EVENTS_WITHIN_S = 5.0


class Confirmation:
    """Confirms what the ledger has as unconfirmed; events only say that it is time to look there.

    What is under way when the duty is lost goes on. Whoever has it next runs the same again under the same
    ids, and the first who is done classifies the mismatch.
    """

    def __init__(self, host: FlowHost, events: EventReader) -> None:
        self._host, self._events = host, events
        self._waiting: deque[str] = deque()
        self._held: set[str] = set()
        self._tried_at: dict[str, float] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._due = asyncio.Event()

    def put(self, comparison: Comparison) -> None:
        """Take a mismatch that was settled in this process, which need not be of traffic."""
        if comparison.classification is Classification.MISMATCH:
            self._hold(comparison.evaluation_id)

    async def round(self) -> None:
        """Begin to confirm what is unconfirmed, as far as there is room. Raises as ``Store`` does."""
        now = time.monotonic()
        self._tried_at = {each: at for each, at in self._tried_at.items() if now - at < _AGAIN_AFTER_S}
        if len(self._waiting) < MOST_WAITING / 2:
            for each in await self._host.store.rollout.unconfirmed(MOST_WAITING):
                self._hold(each)
        while self._waiting and len(self._running) < _AT_ONCE:
            running = asyncio.create_task(self._confirm(self._next_group()))
            self._running.add(running)
            running.add_done_callback(self._note_end)

    async def wait(self) -> None:
        """Return when there is something to confirm, or room for it, or after five seconds."""
        await asyncio.sleep(_GATHER_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(_EVERY_S):
                await self._due.wait()
        self._due.clear()

    async def follow(self, service: BackgroundService) -> None:
        """End ``wait`` when an event tells of a mismatch of traffic. Raises ``ServiceUnavailable``."""
        place = await self._events.newest()
        while True:
            found = await self._events.next_after(place, _EVENTS_AT_ONCE, _EVENTS_WITHIN_S)
            if found:
                place = found[-1].id
            if any(map(_is_mismatch, found)):
                self._due.set()
            service.round_done()

    async def aclose(self) -> None:
        """Cancel what is under way."""
        for each in self._running:
            each.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _hold(self, evaluation_id: str) -> None:
        if evaluation_id in self._held or evaluation_id in self._tried_at or len(self._held) >= MOST_WAITING:
            return
        self._held.add(evaluation_id)
        self._waiting.append(evaluation_id)
        self._due.set()

    def _next_group(self) -> list[str]:
        number = min(len(self._waiting), _MOST_TOGETHER) if len(self._waiting) > CROWD else 1
        return [self._waiting.popleft() for _ in range(number)]

    def _note_end(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._due.set()

    async def _confirm(self, group: Sequence[str]) -> None:
        left: Sequence[Comparison] = ()
        try:
            rows = await self._host.store.evaluation_states(group)
            left = [row.comparison for row in rows if row.comparison and _is_unconfirmed(row.comparison)]
            if left:
                left = [each for each in await confirm(self._host, left) if _is_unconfirmed(each)]
        except Exception as error:  # noqa: BLE001 (whatever ends one confirmation, the next ones must start)
            structlog.get_logger().error("not confirmed", evaluations=group, reason=repr(error))
        finally:
            self._held.difference_update(group)
            self._tried_at.update(dict.fromkeys(group, time.monotonic()))
        for each in left:  # whoever waits for it waits no longer
            self._host.tell(EventKind.CONFIRMED, each)


def _is_unconfirmed(comparison: Comparison) -> bool:
    return comparison.classification is Classification.MISMATCH and comparison.reruns == 0


def _is_mismatch(event: StoredEvent) -> bool:
    return event.kind == EventKind.SETTLED and b'"classification":"mismatch"' in event.data


_DRAWN_AT_ONCE = 2000


class NoiseSampler:
    """Draws from the events of what is settled; the checkpoint is the last event that was looked at."""

    def __init__(self, host: FlowHost, events: EventReader, checkpoint: Checkpoint) -> None:
        self._host, self._events, self._checkpoint = host, events, checkpoint

    async def round(self) -> None:
        """Run again what is drawn from the events since the checkpoint. Raises ``PlatformError``.

        What cannot be run again now is not counted, and no re-run is counted twice.
        """
        place = await self._checkpoint.read()
        if place is None:
            await self._checkpoint.save(await self._events.newest())
        elif found := await self._events.after(place, _DRAWN_AT_ONCE):
            await self._sample(found)
            await self._checkpoint.save(found[-1].id)

    async def _sample(self, events: Sequence[StoredEvent]) -> None:
        share = (await self._host.store.rollout.epoch()).key.policy.noise_share
        ids = [each for each in _traffic(events) if is_within(100 * share, "noise", each)]
        rows = await self._host.store.evaluation_states(ids)
        settled = (row.comparison for row in rows if row.comparison)
        drawn = {each.evaluation_id: each for each in settled if each.legacy and each.celery}
        if not drawn:
            return
        for work, seen in await _on_legacy(self._host, await self._host.store.work(list(drawn))):
            await self._count(work, drawn[work.id], seen)

    async def _count(self, work: Work, first: Comparison, again: Observation) -> None:
        if work.route is None or first.legacy is None or first.celery is None:
            return
        rules = (await self._host.rules.of([work]))[work.id].applied_to(work.evaluation.language)
        legacy, celery, second = (answer(seen, rules) for seen in (first.legacy, first.celery, again))
        await self._host.store.rollout.count_noise(
            work.id,
            again,
            work.route.epoch,
            only_celery=legacy == second != celery,
            only_legacy=legacy == celery != second,
        )


def _traffic(events: Sequence[StoredEvent]) -> list[str]:
    """The ids of settled evaluations that somebody was answered."""
    settled = (orjson.loads(each.data) for each in events if each.kind == EventKind.SETTLED)
    return [str(each["id"]) for each in settled if each["answered_by"] is not None]


async def _on_legacy(host: FlowHost, work: Sequence[Work]) -> list[tuple[Work, Observation]]:
    """What legacy says this time, of those that it answers."""
    found: list[tuple[Work, Observation]] = []
    by_run = {f"{each.id}.{NOISE_RUN}": each for each in work}

    def receive(given: Answer) -> None:
        if given.observation is not None:
            found.append((by_run[given.run_id], given.observation))

    now_ms = time.time_ns() // 1_000_000
    dispatches = [
        Dispatch(run_id, each.evaluation, host.reply_stream, each.traceparent, now_ms)
        for run_id, each in by_run.items()
    ]
    asking = asyncio.create_task(host.exchange.ask("legacy", dispatches, receive))
    try:
        await asyncio.shield(asking)
    finally:  # not cancelled with the round: the next owner of the duty asks for the same runs
        host.exchange.abandon("legacy", by_run)
    return found


class Sentinels:
    """At stage ``celery`` sends one sentinel every ``sentinel_every_s`` seconds.

    The checkpoint is the time of the last one. Intervals are off by what clocks of controllers differ.
    """

    def __init__(self, store: Store, queue: Queue, checkpoint: Checkpoint) -> None:
        self._store, self._queue, self._checkpoint = store, queue, checkpoint

    async def round(self) -> None:
        """Send a sentinel if one is due and there is room for it. Raises as ``Store`` does."""
        if (await self._store.rollout.state()).stage is not Stage.CELERY:
            return
        now, last = datetime.now(UTC), await self._checkpoint.read()
        every_s = (await self._store.rollout.epoch()).key.policy.sentinel_every_s
        if last is not None and abs((now - datetime.fromisoformat(last)).total_seconds()) < every_s:
            return
        # Shielded: the next owner of the duty takes a noted sentinel for sent, so this one has to send it.
        await asyncio.shield(self._send(now))

    async def _send(self, now: datetime) -> None:
        # Noted first: a controller that ends in between leaves one out, and none is sent twice.
        if not await self._checkpoint.save(now.isoformat()):
            return
        reference = await self._store.rollout.random_reference()
        if reference is None:
            structlog.get_logger().warning("no sentinel sent", reason="no recorded evaluation matched")
            return
        ((_, evaluation),) = await self._store.load([reference])
        new_id = new_evaluation_id()
        await self._store.submit([Submission(new_id, evaluation, is_traffic=True, reference=reference)])
        if self._queue.reserve(1):
            self._queue.put([Ticket(new_id, evaluation.id)])
