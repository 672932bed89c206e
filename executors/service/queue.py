"""What is under way at an executor or waits there, and how much of it there may be."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Protocol

from executors.service.problems import Problem, RefusedError

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
