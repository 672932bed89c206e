"""A queue of evaluations that flow runs are started for, and those that nobody has in hand any more."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf

import structlog

from flows.ahead import Registrar, evaluate_batch
from flows.flow_run_batcher import FlowRunBatcher
from flows.host import FlowHost

_AFTER_S = 30.0
"""Seconds after which an open evaluation outside the queue has leaked, and from one try to the next."""

_MOST = 200


class LeakedEvaluations:
    """Has them run again."""

    def __init__(self, host: FlowHost, batcher: FlowRunBatcher) -> None:
        self._host, self._batcher = host, batcher
        self._begun_at: dict[str, float] = {}

    async def round(self) -> None:
        """Queue those for which it is time. Raises as ``Store`` does."""
        before = datetime.now(UTC) - timedelta(seconds=_AFTER_S)
        found = await self._host.store.ownership.in_hand(self._host.lease.owner, before, _MOST)
        now = time.monotonic()
        # What fails each time is begun at intervals only, or it would take the machine.
        self._begun_at = {each.id: self._begun_at[each.id] for each in found if each.id in self._begun_at}
        due = [
            each
            for each in found
            if not self._batcher.holds(each.id) and now - self._begun_at.get(each.id, -inf) >= _AFTER_S
        ]
        if due and self._batcher.reserve(len(due)):
            self._begun_at.update((each.id, now) for each in due)
            self._batcher.put(due)
            structlog.get_logger().warning("begun again", evaluations=len(due))


_SERVICE = "leaked evaluations"
_LOOK_EVERY_S = 2.0


@asynccontextmanager
async def flow_runs_batched(host: FlowHost, finish_within_s: float) -> AsyncIterator[FlowRunBatcher]:
    """The queue, for as long as the context lasts; to be entered inside the context of ``host``.

    At the end flow runs under way have ``finish_within_s`` seconds to end. The rest is left to others.
    """
    batcher = FlowRunBatcher(partial(evaluate_batch, Registrar()))
    batcher.open(host.background)
    host.background.every(_LOOK_EVERY_S, _SERVICE, LeakedEvaluations(host, batcher).round)
    try:
        yield batcher
    finally:
        await host.background.end(_SERVICE)
        host.leave()
        await batcher.close(finish_within_s)
