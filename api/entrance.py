"""Enters what is submitted in the ledger: what arrives while one transaction is written shares the next.

That is how databases commit. Nobody waits for company, and under load the cost of a transaction is shared.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

from crucible.store import Submission
from tasks.background import BackgroundService, BackgroundServices

_BOUND_S = 30.0

_MOST_TOGETHER = 500
"""Evaluations in one transaction, about: others wait for it."""

Submit = Callable[[Sequence[Submission]], Awaitable[object]]
"""See ``Store.submit``."""


class Entrance:
    """The one way into the ledger for requests that need no transaction of their own.

    They wait until it is open.
    """

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._waiting: deque[tuple[Sequence[Submission], asyncio.Future[None]]] = deque()
        self._arrived = asyncio.Event()

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` write from now on."""
        background.keep("group commit", self._write, bound_s=_BOUND_S)

    async def enter(self, submissions: Sequence[Submission]) -> None:
        """Return once these are in the ledger, all of them; raises what ``Store.submit`` raises.

        They are entered even where the caller does not wait for it any more.
        """
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((submissions, entered))
        self._arrived.set()
        await asyncio.shield(entered)

    async def _write(self, service: BackgroundService) -> None:
        while True:
            while self._waiting:
                await self._write_group(self._next_group())
                service.round_done()
            self._arrived.clear()
            await service.idle(self._arrived)

    def _next_group(self) -> list[tuple[Sequence[Submission], asyncio.Future[None]]]:
        group, number = [self._waiting.popleft()], 0
        while self._waiting and number < _MOST_TOGETHER:
            group.append(self._waiting.popleft())
            number += len(group[-1][0])
        return group

    async def _write_group(self, group: list[tuple[Sequence[Submission], asyncio.Future[None]]]) -> None:
        try:
            await self._submit(list(chain.from_iterable(submissions for submissions, _ in group)))
        except Exception as error:  # noqa: BLE001 (whatever it is, somebody waits for the end of his request)
            if len(group) == 1:
                _, entered = group[0]
                entered.set_exception(error)
                entered.exception()  # looked at, whether or not the caller still waits
                return
            for each in group:  # one that the store refuses takes no other with it
                await self._write_group([each])
        else:
            for _, entered in group:
                entered.set_result(None)
