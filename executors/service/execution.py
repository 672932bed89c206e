"""The programs of one order: run, counted, and ended when the order is cancelled."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry.trace import format_trace_id
from starlette.requests import Request

from crucible.models import Observation, Outcome
from crucible.telemetry.spans import TRACEPARENT, context_of, here, inside
from executors.executor import Executor, Prepared
from executors.service.metrics import Metrics
from executors.service.orders import Order, Problem, sandbox_failed
from executors.service.queue import Queue


@contextmanager
def in_trace(request: Request) -> Iterator[None]:
    """Inside, log lines name the caller's trace, if the request is in one."""
    place = context_of(request.headers.get(TRACEPARENT))
    if place is None:
        yield
        return
    trace_id = format_trace_id(place.trace_id)
    with structlog.contextvars.bound_contextvars(trace_id=trace_id), inside(place):
        yield


class Execution:
    """One order under way. Each of its programs has a name, unique among all that are under way here.

    ``work_s`` is how long they ran in all, ``cancelled`` whether the order's caller has given it up.
    """

    def __init__(self, executor: Executor, queue: Queue, metrics: Metrics, order: Order) -> None:
        self.order = order
        self.cancelled = False
        self.work_s = 0.0
        self._executor, self._queue, self._metrics = executor, queue, metrics
        self._names: set[str] = set()
        self._unwanted: set[str] = set()
        self._log = structlog.get_logger()

    async def prepare(self, name: str) -> Prepared | Observation:
        """Compile the program; an observation where there is nothing to run."""
        if self.cancelled:
            return self._never_run()
        order = self.order
        with self._under_way(name):
            made = await self._executor.prepare(name, order.language, order.code, order.limits, order.files)
        return self._judged(name, made) if isinstance(made, Observation) else made

    async def run(self, name: str, prepared: Prepared, stdin: str) -> Observation:
        """Run the program once; ``cancelled`` without running it once the order is."""
        if self.cancelled:
            return self._never_run()
        with self._under_way(name):
            seen = await self._executor.run(name, prepared, stdin)
        return self._judged(name, seen)

    async def end(self, name: str) -> None:
        """End a program of this order whose observation nobody wants any more."""
        if name in self._names:
            self._unwanted.add(name)
            await self._executor.cancel(name)

    async def cancel(self) -> None:
        """End all programs of this order, and start no more."""
        self.cancelled = True
        await asyncio.gather(*(self.end(name) for name in self._names))

    @contextmanager
    def _under_way(self, name: str) -> Iterator[None]:
        self._names.add(name)
        try:
            with self._queue.program():
                yield
        finally:
            self._names.discard(name)

    def _judged(self, name: str, seen: Observation) -> Observation:
        if seen.outcome is Outcome.CANCELLED and name not in self._unwanted:
            # Only the end of the executor itself can have ended it: nothing that its caller has wished.
            update = {"outcome": Outcome.SANDBOX_ERROR, "detail": "the executor is being stopped"}
            seen = seen.model_copy(update=update)
        if seen.outcome is Outcome.SANDBOX_ERROR:
            self._log.error("execution_failed", id=self.order.id, detail=seen.detail)
        place = here()
        if place is not None and place.trace_flags.sampled:
            self._log.info("executed", run_id=self.order.id, outcome=seen.outcome.value)
        self.work_s += seen.duration_s
        self._metrics.executed(self.order.language, seen)
        return seen

    def _never_run(self) -> Observation:
        return Observation(
            outcome=Outcome.CANCELLED,
            executor=self._executor.name,
            isolation_level=self._executor.isolation_level,
        )


async def run_once(execution: Execution) -> bytes | Problem:
    """The answer to an order without cases: the observation, or what kept it from being made."""
    order = execution.order
    prepared = await execution.prepare(order.id)
    if isinstance(prepared, Observation):
        seen = prepared
    else:
        seen = await execution.run(order.id, prepared, order.stdin)
    return sandbox_failed(seen) if seen.outcome is Outcome.SANDBOX_ERROR else seen.model_dump_json().encode()
