"""Has legacy run some evaluations twice, drawn whatever came of them: how often it differs from itself."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from crucible.compare import answer
from crucible.errors import PlatformError
from crucible.models import Comparison, Observation
from crucible.rollout.stage import is_within
from crucible.store import NOISE_RUN, Work
from flows.host import FlowHost
from tasks.dispatch import Dispatch
from tasks.exchange import Answer

_AT_ONCE = 50
_MOST_WAITING = 1000
"""Of more than these, which all came within one round, no noise is drawn."""


class NoiseSampler:
    """``put`` what is settled; ``run`` must go on in the background."""

    def __init__(self, host: FlowHost) -> None:
        self._host = host
        self._waiting: asyncio.Queue[Comparison] = asyncio.Queue(_MOST_WAITING)

    def put(self, comparison: Comparison) -> None:
        """Take a comparison of traffic that both legs ran; most are let go."""
        is_paired = comparison.answered_by is not None and comparison.legacy and comparison.celery
        if is_paired and not self._waiting.full():
            self._waiting.put_nowait(comparison)

    async def run(self) -> None:
        """Re-run what is drawn, until cancelled. What cannot be run again now is not counted."""
        while True:
            gathered = [await self._waiting.get()]
            while not self._waiting.empty() and len(gathered) < _AT_ONCE:
                gathered.append(self._waiting.get_nowait())
            try:
                await self._sample(gathered)
            except PlatformError as error:
                structlog.get_logger().warning("noise not sampled", reason=str(error))

    async def _sample(self, gathered: Sequence[Comparison]) -> None:
        share = (await self._host.store.rollout.epoch()).key.policy.noise_share
        drawn = {
            each.evaluation_id: each
            for each in gathered
            if is_within(100 * share, "noise", each.evaluation_id)
        }
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
        await self._host.store.add_run(work.id, NOISE_RUN, again, None)
        await self._host.store.rollout.count_noise(
            work.route.epoch,
            only_celery=legacy == second != celery,
            only_legacy=legacy == celery != second,
        )


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
