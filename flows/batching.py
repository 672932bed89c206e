"""A queue of evaluations that flow runs are started for, in the background of a process with a flow host."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from flows.ahead import Registrar, evaluate_batch
from flows.flow_run_batcher import FlowRunBatcher
from flows.host import FlowHost
from flows.leaked import LeakedEvaluations

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
