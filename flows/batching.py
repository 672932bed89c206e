"""A queue of evaluations that flow runs are started for, and those that nobody has in hand any more.

What arrives while a flow run is being started joins the next. That is how databases commit. What comes alone
waits for nobody. Under load the cost of a flow run, some 0.4 seconds of CPU time with Prefect's server, is
shared: the more are under way, the longer the next waits for company, unless there is enough of it already.

Nobody has an evaluation in hand any more when its flow run failed, or its submission was written although its
answer got lost. Only the process that owns it can tell it from those that wait in its queue.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from math import inf

import structlog

from crucible.store import Ticket
from flows.evaluate import Registrar, evaluate_batch
from flows.host import FlowHost
from tasks.background import BackgroundService, BackgroundServices

MOST_WAITING = 5000
"""Evaluations that may wait for their flow run; they wait in the ledger, only their ids are held."""
MOST_IN_BATCH = 200
MOST_IN_FLIGHT = 4
"""Flow runs under way at once. More of them would be smaller, and their bookkeeping would take the CPU."""

GATHER_S = 0.1
"""From the start of a flow run to the next, if that is not full, while one is under way; times the square of
how many are."""

_SERVICE = "flow run batcher"
_BOUND_S = 15.0
_CANCEL_WITHIN_S = 3.0


StartFlow = Callable[[Sequence[Ticket], Callable[[str], None]], Awaitable[object]]
"""Runs a batch to its end; calls back with the flow run's id as soon as it has started."""


class FlowRunBatcher:
    """The queue in front of the flows."""

    def __init__(self, start: StartFlow, gather_s: float = GATHER_S) -> None:
        self._start = start
        self._gather_s = gather_s
        self._waiting: deque[Ticket] = deque()
        self._reserved = 0
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._started_at = 0.0
        self._room = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._running: set[asyncio.Task[None]] = set()
        self._held: set[str] = set()
        self._flow_run_ids: dict[str, str] = {}
        self._background: BackgroundServices | None = None
        self._log = structlog.get_logger()

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` start flow runs from now on; to be called where the flow host is seen."""
        self._background = background
        background.keep(_SERVICE, self._run, bound_s=_BOUND_S)

    @property
    def waiting(self) -> int:
        """How many places of the queue are taken."""
        return len(self._waiting) + self._reserved

    @property
    def load(self) -> float:
        """The part of the queue's places that is taken, from 0 to 1."""
        return self.waiting / MOST_WAITING

    def reserve(self, number: int) -> bool:
        """Keep ``number`` places in the queue, if there are so many; each is used or freed later."""
        if self.waiting + number > MOST_WAITING:
            return False
        self._reserved += number
        return True

    def free(self, number: int) -> None:
        """Give places back that nobody will use."""
        self._reserved -= number

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Queue evaluations that are in the ledger and have their places reserved."""
        self._reserved -= len(tickets)
        self._held.update(each.id for each in tickets)
        self._waiting.extend(tickets)
        self._arrived.set()
        self._changed.set()

    def withdraw(self, evaluation_id: str) -> None:
        """Take an evaluation out of the queue, if it waits there."""
        for ticket in self._waiting:
            if ticket.id == evaluation_id:
                self._waiting.remove(ticket)
                self._held.discard(evaluation_id)
                return

    def holds(self, evaluation_id: str) -> bool:
        """Whether an evaluation waits for its flow run here, or is under way."""
        return evaluation_id in self._held

    def flow_run_id(self, evaluation_id: str) -> str | None:
        """The flow run in which an evaluation is under way now, if it is."""
        return self._flow_run_ids.get(evaluation_id)

    async def _run(self, service: BackgroundService) -> None:
        """Start flow runs, one after the other."""
        while True:
            await service.idle(self._arrived)
            while self._room.locked():
                self._changed.clear()
                await service.idle(self._changed)
            await self._gather()
            batch = self._take()
            if not batch:  # all that waited were withdrawn
                continue
            await self._room.acquire()  # at once: nobody else takes any
            started = asyncio.Event()
            self._started_at = asyncio.get_running_loop().time()
            running = asyncio.create_task(self._run_batch(batch, started))
            self._running.add(running)
            running.add_done_callback(self._note_end)
            await service.idle(started)

    async def close(self, within_s: float) -> None:
        """Start no more, and cancel flow runs under way that are not done ``within_s`` seconds later.

        What had no flow run stays in the ledger, unsettled.
        """
        if self._background is not None:
            await self._background.end(_SERVICE)
        if self._waiting:
            self._log.warning("evaluations left unsettled", number=len(self._waiting))
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=within_s)
            for running in late:
                running.cancel()
            if late:
                # Not for long: a Prefect server that is away is asked again and again to note the end.
                await asyncio.wait(late, timeout=_CANCEL_WITHIN_S)

    async def _gather(self) -> None:
        """Wait for company, as long as is due."""
        now = asyncio.get_running_loop().time
        while len(self._waiting) < MOST_IN_BATCH:
            due_at = self._started_at + self._gather_s * len(self._running) ** 2
            if due_at <= now():
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):  # ``wait_for`` may lose a cancellation
                    await self._changed.wait()

    def _note_end(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._changed.set()

    def _take(self) -> list[Ticket]:
        batch = list(islice(self._waiting, MOST_IN_BATCH))
        for _ in batch:
            self._waiting.popleft()
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _run_batch(self, batch: Sequence[Ticket], started: asyncio.Event) -> None:
        def on_started(flow_run_id: str) -> None:
            self._flow_run_ids.update((ticket.id, flow_run_id) for ticket in batch)
            started.set()

        try:
            await self._see_through(batch, on_started)
        finally:
            for ticket in batch:
                self._held.discard(ticket.id)
                self._flow_run_ids.pop(ticket.id, None)
            self._room.release()
            started.set()

    async def _see_through(self, batch: Sequence[Ticket], on_started: Callable[[str], None]) -> None:
        """Run ``batch``; when its flow run fails, its halves: one evaluation takes no other with it."""
        try:
            await self._start(batch, on_started)
        except Exception as error:  # noqa: BLE001 (whatever ends one flow run, the next ones must start)
            self._log.error("flow run failed", evaluations=len(batch), first=batch[0].id, reason=repr(error))
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._see_through(batch[:middle], on_started)
                await self._see_through(batch[middle:], on_started)


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


_LEAKED = "leaked evaluations"
_LOOK_EVERY_S = 2.0


@asynccontextmanager
async def flow_runs_batched(host: FlowHost, finish_within_s: float) -> AsyncIterator[FlowRunBatcher]:
    """The queue, for as long as the context lasts; to be entered inside the context of ``host``.

    At the end flow runs under way have ``finish_within_s`` seconds to end. The rest is left to others.
    """
    batcher = FlowRunBatcher(partial(evaluate_batch, Registrar()))
    batcher.open(host.background)
    host.background.every(_LOOK_EVERY_S, _LEAKED, LeakedEvaluations(host, batcher).round)
    try:
        yield batcher
    finally:
        await host.background.end(_LEAKED)
        host.leave()
        await batcher.close(finish_within_s)
