"""Many runs of one program: compiled once, run at once where there are slots, answered in order."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from opentelemetry.trace import format_trace_id
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from crucible.models import Observation, Outcome
from crucible.telemetry.spans import TRACEPARENT, context_of, here, inside
from executors.executor import Executor, Prepared
from executors.service.metrics import Metrics
from executors.service.orders import Order, Problem, sandbox_failed
from executors.service.queue import Drain, Queue


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


MAX_ANSWER_BYTES = 32 << 20
"""The largest answer in one piece; a stream has no such limit."""

_MOST_AHEAD_BYTES = 8 << 20
"""How much is held of cases that came back before one ahead of them; no case is begun beyond it."""

Give = Callable[[int, Observation], Awaitable[None]]
"""Takes the observation of one case, by its index."""


@dataclass(frozen=True)
class Ending:
    """How a batch ended. ``compiled`` is null, or the observation that is there instead of any run."""

    compiled: Observation | None
    stopped: bool
    """Whether cases were left out for a failure before them."""


class Batch:
    """Runs the cases of an order, as many at once as ``slots``. To be run once.

    Cases begin in their order. In the sandbox's queue they wait like programs of anybody else, so that
    others wait for no more than ``slots`` of them.
    """

    def __init__(self, execution: Execution, slots: int) -> None:
        self._execution = execution
        self._slots = slots
        self._cases = execution.order.cases or ()
        self._name = f"{execution.order.id}#{secrets.token_hex(8)}"  # which is nobody's own id
        self._end = len(self._cases)
        self._next = self._given = 0
        self._ahead: dict[int, Observation] = {}
        self._ahead_bytes = 0
        self._turn = asyncio.Condition()
        self._failed: Observation | None = None

    async def run(self, give: Give) -> Ending | Problem:
        """Run all, and ``give`` each observation as soon as it and all before it are there.

        A problem is returned for a fault of the platform; what comes before it has been given.
        """
        prepared = await self._execution.prepare(self._name)
        if isinstance(prepared, Observation):
            if prepared.outcome is Outcome.SANDBOX_ERROR:
                return sandbox_failed(prepared)
            return Ending(prepared, stopped=False)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._slots, len(self._cases))):
                group.create_task(self._work(prepared, give))
        if self._failed is not None:
            return sandbox_failed(self._failed)
        return Ending(None, stopped=self._end < len(self._cases))

    async def _work(self, prepared: Prepared, give: Give) -> None:
        while (index := await self._begun()) is not None:
            seen = await self._execution.run(f"{self._name}.{index}", prepared, self._cases[index].stdin)
            if index < self._end:
                if self._ends_all(seen):
                    await self._leave_out_from(index + 1)
                await self._came_back(index, seen, give)

    async def _begun(self) -> int | None:
        """The next case to run; null if there is none."""
        async with self._turn:
            await self._turn.wait_for(
                lambda: self._ahead_bytes <= _MOST_AHEAD_BYTES or self._next >= self._end
            )
            if self._next >= self._end:
                return None
            self._next += 1
            return self._next - 1

    def _ends_all(self, seen: Observation) -> bool:
        if self._execution.order.stop_at_first_failure and seen.outcome is not Outcome.OK:
            return True
        return seen.outcome is Outcome.SANDBOX_ERROR

    async def _leave_out_from(self, index: int) -> None:
        self._end = index
        await asyncio.gather(
            *(self._execution.end(f"{self._name}.{later}") for later in range(index, self._next))
        )

    async def _came_back(self, index: int, seen: Observation, give: Give) -> None:
        async with self._turn:
            self._ahead[index] = seen
            self._ahead_bytes += _size(seen)
            while self._given < self._end and (first := self._ahead.pop(self._given, None)) is not None:
                self._ahead_bytes -= _size(first)
                if first.outcome is Outcome.SANDBOX_ERROR:
                    self._failed = first
                else:
                    await give(self._given, first)
                self._given += 1
            self._turn.notify_all()


def _size(seen: Observation) -> int:
    return len(seen.stdout_b64) + len(seen.stderr_b64)


async def in_one_piece(execution: Execution, slots: int) -> bytes | Problem:
    """The answer to an order with cases: all observations, or what kept them from being made."""
    parts: list[bytes] = []
    size = 0

    async def give(_index: int, seen: Observation) -> None:
        nonlocal size
        parts.append(seen.model_dump_json().encode())
        size += len(parts[-1])
        if size > MAX_ANSWER_BYTES:
            parts.clear()
            await execution.cancel()

    ending = await Batch(execution, slots).run(give)
    if isinstance(ending, Problem):
        return ending
    if size > MAX_ANSWER_BYTES:
        return Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"cases: their observations hold more than {MAX_ANSWER_BYTES} bytes together; "
            "send fewer, lower limits.output_kb, or accept application/x-ndjson",
        )
    compiled = b"null" if ending.compiled is None else ending.compiled.model_dump_json().encode()
    stopped = b"true" if ending.stopped else b"false"
    observations = b",".join(parts)
    return b'{"observations":[%b],"compile":%b,"stopped":%b}' % (observations, compiled, stopped)


class Lines(Response):
    """One line for each case: its observation with ``case``, the index from 0, and ``id``, the caller's.

    The last line is ``{"summary": {...}}``, or a problem document where the platform failed. A caller who
    hangs up ends all that is left.
    """

    media_type = "application/x-ndjson"

    def __init__(self, execution: Execution, queue: Queue, drain: Drain) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers()
        self._execution, self._queue, self._drain = execution, queue, drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the batch and send it; the execution has entered the queue and leaves it here."""
        hung_up = asyncio.ensure_future(self._hung_up(receive))
        try:
            with self._drain.caller(Request(scope, receive)):
                await self._send(send)
        finally:
            hung_up.cancel()
            self._queue.leave(self._execution.order.id, self._execution.work_s)

    async def _send(self, send: Send) -> None:
        cases = self._execution.order.cases or ()
        given = 0

        async def give(index: int, seen: Observation) -> None:
            nonlocal given
            given += 1
            line = {"case": index, "id": cases[index].id, **seen.model_dump(mode="json")}
            await send(_part(line, more=True))

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        ending = await Batch(self._execution, self._queue.slots).run(give)
        await send(_part(_last(ending, given), more=False))

    async def _hung_up(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await self._execution.cancel()


def _last(ending: Ending | Problem, given: int) -> dict[str, object]:
    if isinstance(ending, Problem):
        return ending.document
    compiled = None if ending.compiled is None else ending.compiled.model_dump(mode="json")
    return {"summary": {"observations": given, "compile": compiled, "stopped": ending.stopped}}


def _part(line: dict[str, object], *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": orjson.dumps(line) + b"\n", "more_body": more}
