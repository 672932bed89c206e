"""Has legacy run some evaluations twice, drawn whatever came of them: how often it differs from itself."""

import time
from collections.abc import Sequence

import orjson

from crucible.compare import answer
from crucible.models import Comparison, Observation
from crucible.rollout.stage import is_within
from crucible.store import NOISE_RUN, Work
from flows.duties.leases import Checkpoint
from flows.host import FlowHost
from tasks.dispatch import Dispatch
from tasks.event_reader import EventReader, StoredEvent
from tasks.events import EventKind
from tasks.exchange import Answer

_AT_ONCE = 2000


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
        elif found := await self._events.after(place, _AT_ONCE):
            await self._sample(found)
            await self._checkpoint.save(found[-1].id)

    async def _sample(self, events: Sequence[StoredEvent]) -> None:
        share = (await self._host.store.rollout.epoch()).key.policy.noise_share
        ids = [each for each in _traffic(events) if is_within(100 * share, "noise", each)]
        rows = await self._host.store.evaluation_states(ids)
        drawn = {row.id: row.comparison for row in rows if row.comparison and _is_paired(row.comparison)}
        if not drawn:
            return
        again = await _on_legacy(self._host, await self._host.store.work(list(drawn)))
        for work, seen in again:
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


def _is_paired(comparison: Comparison) -> bool:
    return comparison.legacy is not None and comparison.celery is not None


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
    await host.exchange.ask("legacy", dispatches, receive)
    return found
