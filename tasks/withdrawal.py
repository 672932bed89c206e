"""Takes back what was sent: marks first, then queues and programs, within seconds."""

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from crucible.errors import ServiceUnavailable
from crucible.models import LEGS, Leg
from tasks.cancellation import Cancellations
from tasks.dispatch import LegClient

_WITHIN_S = 10.0


class Withdrawal:
    """Takes runs back on the legs of ``clients``. What cannot be reached now finds the marks later."""

    def __init__(self, clients: Mapping[Leg, LegClient], cancellations: Cancellations) -> None:
        self._clients = clients
        self._cancellations = cancellations

    async def of_evaluations(self, evaluation_ids: Collection[str], run_ids: Sequence[str]) -> None:
        """Take back all runs of these evaluations, also those to come. ``run_ids`` are those under way.

        Raises ``ServiceUnavailable`` when Redis cannot be told; nothing was taken back then.
        """
        await self._cancellations.mark(evaluation_ids)
        await self._end(LEGS, run_ids)

    async def of_runs(self, leg: Leg, run_ids: Sequence[str], sending: asyncio.Task[None]) -> None:
        """Take back what ``sending`` sends to ``leg``."""
        try:
            await self._cancellations.mark(run_ids)
        except ServiceUnavailable as error:
            structlog.get_logger().warning("not marked", runs=len(run_ids), reason=str(error))
        await asyncio.wait({sending})  # or it would queue what was just taken out of the queue
        await self._end([leg], run_ids)

    async def _end(self, legs: Collection[Leg], run_ids: Sequence[str]) -> None:
        if not run_ids:
            return
        queues = (self._from_queue(leg, run_ids) for leg in legs)
        await asyncio.gather(*queues, self._cancellations.kill(run_ids, legs))

    async def _from_queue(self, leg: Leg, run_ids: Sequence[str]) -> None:
        try:
            await self._clients[leg].withdraw(run_ids)
        except ServiceUnavailable as error:
            structlog.get_logger().warning("not withdrawn", leg=leg, reason=str(error))


async def see_through(work: Coroutine[Any, Any, None]) -> None:
    """Finish ``work`` although the caller has been cancelled, or is once more; within seconds.

    Raises nothing that ``work`` raises: the reason why the caller ends early must not be covered up.
    """
    working = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({working}, timeout=_WITHIN_S)
    finally:
        working.add_done_callback(_log_failure)
    if not done:
        working.cancel()


def _log_failure(working: asyncio.Future[None]) -> None:
    failure = None if working.cancelled() else working.exception()
    if failure is not None:
        structlog.get_logger().error("not cancelled in good order", reason=repr(failure))
