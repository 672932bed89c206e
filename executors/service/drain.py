"""The way out: at the first signal nothing new is taken, what callers wait for may still end."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.requests import Request

from executors.service.problems import Problem, RefusedError

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
