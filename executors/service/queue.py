"""The way in and the way out: a bounded queue for slots, and at the first signal nothing new."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple, Protocol

from starlette.requests import Request

from executors.service.orders import Problem, RefusedError
from executors.timings import Timing, timings_kept

_LOOK_S = 0.05


class Drain:
    """Whether the service is on its way out, and who still waits for an answer of it."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._begun, self._hurried = asyncio.Event(), asyncio.Event()
        self._callers: set[Request] = set()

    @property
    def begun(self) -> bool:
        """Whether nothing new is taken any more."""
        return self._begun.is_set()

    def signalled(self) -> None:
        """Begin; the second time, end at once."""
        (self._hurried if self.begun else self._begun).set()

    def refuse(self) -> None:
        """Raise ``RefusedError`` once begun."""
        if self.begun:
            detail = "the executor is being stopped; ask another one, or again once it is back"
            again_s = max(1, math.ceil(self._within_s))
            raise RefusedError("draining", Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, again_s))

    @contextmanager
    def caller(self, request: Request) -> Iterator[None]:
        """Someone who waits for an answer."""
        self._callers.add(request)
        try:
            yield
        finally:
            self._callers.discard(request)

    async def over(self) -> None:
        """Wait for the first signal; then until nobody waits for an answer, time is up or the second signal.

        A run whose caller has hung up is not waited for: its answer would end with this process.
        """
        await self._begun.wait()
        try:
            async with asyncio.timeout(self._within_s):
                # Callers hang up without an event that could be waited for here.
                while not self._hurried.is_set() and await self._is_awaited():  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            return

    async def _is_awaited(self) -> bool:
        for caller in tuple(self._callers):
            if not await caller.is_disconnected():
                return True
        return False


_LONGEST_RETRY_S = 60
_NEWEST_COUNTS = 0.1
"""Weight of the newest order in the running average."""


class Cancellable(Protocol):
    """An order under way."""

    async def cancel(self) -> None:
        """End all its programs."""


class Queue:
    """The orders under way or waiting, by id. One with many cases counts as one."""

    def __init__(self, slots: int, limit: int) -> None:
        self.slots = slots
        self.limit = slots + limit
        self._orders: dict[str, Cancellable] = {}
        self._programs = 0
        self._average_s = 0.0

    @property
    def orders(self) -> int:
        """How many orders are here."""
        return len(self._orders)

    @property
    def running(self) -> int:
        """How many programs hold a slot."""
        return min(self._programs, self.slots)

    @property
    def waiting(self) -> int:
        """How many programs wait for a slot."""
        return self._programs - self.running

    @property
    def retry_after_s(self) -> int:
        """In how many seconds about half of what is here will be done, by the running average; 1 to 60."""
        estimate = self._average_s * self.orders / (2 * self.slots)
        return min(max(math.ceil(estimate), 1), _LONGEST_RETRY_S)

    def find(self, run_id: str) -> Cancellable | None:
        """The order under way by that id."""
        return self._orders.get(run_id)

    def enter(self, run_id: str, order: Cancellable) -> None:
        """Take ``order`` in, until ``leave``; raises ``RefusedError`` where there is no room for it."""
        if run_id in self._orders:
            detail = f"id: {run_id!r} is under way in another form; wait for its end, or take another id"
            raise RefusedError("id_taken", Problem(HTTPStatus.CONFLICT, detail, self.retry_after_s))
        if self.orders >= self.limit:
            detail = f"{self.limit} orders run or wait here already"
            raise RefusedError("full", Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, self.retry_after_s))
        self._orders[run_id] = order

    def leave(self, run_id: str, work_s: float) -> None:
        """An order has ended; its programs ran ``work_s`` seconds in all."""
        del self._orders[run_id]
        self._average_s += _NEWEST_COUNTS * (work_s - self._average_s)

    @contextmanager
    def program(self) -> Iterator[None]:
        """A program that runs or waits for a slot."""
        self._programs += 1
        try:
            yield
        finally:
            self._programs -= 1


KEPT_BYTES = 32 << 20
"""How many bytes of finished answers are kept for those who ask again."""


class Answer(NamedTuple):
    """What is answered, and what the time went into."""

    body: bytes | Problem
    timings: Sequence[Timing]


class Answers:
    """Runs under way and the last answers, bounded by their size in bytes."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._running: dict[Hashable, asyncio.Task[Answer]] = {}
        self._kept: OrderedDict[Hashable, Answer] = OrderedDict()
        self._room = kept_bytes

    def knows(self, run_id: Hashable) -> bool:
        """Whether asking for this id starts nothing new."""
        return run_id in self._running or run_id in self._kept

    async def get(self, run_id: Hashable, start: Callable[[], Awaitable[bytes | Problem]]) -> Answer:
        """The answer for ``run_id``, from ``start`` if nobody has asked before.

        A problem from ``start`` is handed out and not kept. The run goes on when the one who asked hangs up.
        """
        if run_id in self._kept:
            return self._kept[run_id]
        run = self._running.get(run_id)
        if run is None:
            run = asyncio.ensure_future(self._run(run_id, start))
            self._running[run_id] = run
        return await asyncio.shield(run)

    async def _run(self, run_id: Hashable, start: Callable[[], Awaitable[bytes | Problem]]) -> Answer:
        try:
            with timings_kept() as timings:
                answer = Answer(await start(), timings)
        finally:
            del self._running[run_id]
        if isinstance(answer.body, bytes):
            self._kept[run_id] = answer
            self._room -= len(answer.body)
            self._make_room()
        return answer

    def _make_room(self) -> None:
        while self._room < 0:
            _, dropped = self._kept.popitem(last=False)
            self._room += len(dropped.body) if isinstance(dropped.body, bytes) else 0
