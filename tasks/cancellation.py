"""Marks that say what was cancelled: they outlive whoever asked, and workers obey them whenever they come.

Keys, all in the Redis of the replies: ``crucible:cancel:{id}`` marks a run, or an evaluation with all its
runs, or a sweep; ``crucible:cancels`` is a stream that tells of new marks, each entry the ids of one request.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, cast

import redis
import structlog

from crucible.errors import ServiceUnavailable
from crucible.models import LEGS, Leg
from executors.client import Killer
from tasks.claims import Claims, claim_key, mark_key, mark_keys
from tasks.connections import connect_async, place_in
from tasks.dispatch import LegClient

CANCELS = "crucible:cancels"

_MARK_TTL_S = 86_400
_ENTRIES_KEPT = 10_000
_IDS_IN_ENTRY = 1000
_BLOCK_MS = 5_000

Killers = Mapping[Leg, Sequence[Killer]]
"""For each leg one for each of its executors."""

Entry = tuple[bytes, Mapping[bytes, bytes]]


class Cancellations:
    """The marks as a flow host uses them, and the executors' kill, for programs whose worker is not there."""

    def __init__(self, redis_url: str, killers: Killers) -> None:
        self._redis = connect_async(redis_url)
        self._killers = killers
        self._last: str | None = None

    async def mark(self, ids: Collection[str]) -> None:
        """Mark runs, evaluations or sweeps as cancelled, for a day, and tell everybody.

        All or none of up to a thousand; raises ``ServiceUnavailable`` when Redis does not answer.
        """
        marked = list(ids)
        for start in range(0, len(marked), _IDS_IN_ENTRY):
            await self._mark(marked[start : start + _IDS_IN_ENTRY])

    async def marked(self, run_ids: Collection[str]) -> set[str]:
        """Which of ``run_ids``, or of sweeps, were cancelled, by themselves or with their evaluation.

        Raises ``ServiceUnavailable`` when Redis cannot be used.
        """
        asked = list(run_ids)
        if not asked:
            return set()
        marks = await self._redis.mget([key for run_id in asked for key in mark_keys(run_id)])
        pairs = zip(asked, marks[::2], marks[1::2], strict=True)
        return {run_id for run_id, *found in pairs if any(mark is not None for mark in found)}

    async def marked_since(self, waiting: Callable[[], Collection[str]]) -> set[str]:
        """What was marked by anybody since the last call, as soon as there is any; nothing after 5 s without.

        Marks that are older than the first call are looked up for the runs in ``waiting()`` alone, since they
        may have waited while Redis could not be reached. Raises ``ServiceUnavailable``.
        """
        if self._last is None:
            place = newest(cast("list[Entry]", await self._redis.xrevrange(CANCELS, count=1)))
            marked = await self.marked(waiting())
            self._last = place
            return marked
        found = await self._redis.xread({CANCELS: self._last}, block=_BLOCK_MS)
        if not found:
            self._last = await place_in(self._redis, CANCELS, self._last)
            return set()
        ((_, entries),) = cast("list[tuple[bytes, list[Entry]]]", found)
        self._last = newest(entries)
        return {each for _, fields in entries for each in fields.get(b"ids", b"").decode().split()}

    async def kill(self, run_ids: Iterable[str], legs: Collection[Leg] = LEGS) -> None:
        """Have the executors of ``legs`` end these runs, those in a worker's hands first.

        An executor that does not know a run, or does not answer, is passed over: the run's worker, or the
        worker that gets the run next, has the mark.
        """
        asked = list(run_ids)
        await asyncio.gather(*(self._kill_on(leg, asked) for leg in legs))

    async def aclose(self) -> None:
        """Close all connections; a ``marked_since`` under way must have been cancelled."""
        for each in chain.from_iterable(self._killers.values()):
            each.close()
        await self._redis.aclose()

    async def _kill_on(self, leg: Leg, run_ids: Sequence[str]) -> None:
        order = await self._claimed_first(run_ids, leg)
        killers = self._killers.get(leg, ())
        await asyncio.gather(*(asyncio.to_thread(each.end, order) for each in killers))

    async def _mark(self, ids: Sequence[str]) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        for each in ids:
            pipeline.set(mark_key(each), 1, ex=_MARK_TTL_S)
        pipeline.xadd(CANCELS, {"ids": " ".join(ids)}, maxlen=_ENTRIES_KEPT)
        pipeline.expire(CANCELS, _MARK_TTL_S)
        await pipeline.execute()

    async def _claimed_first(self, run_ids: Sequence[str], leg: Leg) -> list[str]:
        try:
            held = await self._redis.mget([claim_key(run_id, leg) for run_id in run_ids])
        except ServiceUnavailable:
            return list(run_ids)
        ranked = sorted(zip(run_ids, held, strict=True), key=lambda pair: pair[1] is None)
        return [run_id for run_id, _ in ranked]


def killers_of(executor_urls: Sequence[str], token: str) -> Killers:
    """Killers for these executors, in the order executor-1, executor-2 (legacy), executor-3 (Celery)."""
    made = [Killer([url], token) for url in executor_urls]
    return {"legacy": made[:2], "celery": made[2:]}


def newest(entries: Sequence[Entry]) -> str:
    """The id of the last of ``entries``, to read on from; that of the beginning if there are none."""
    return entries[-1][0].decode() if entries else "0-0"


_LOOK_EVERY_MS = 1_000
_AGAIN_MS = 100


class CancelWatch:
    """Has the executor end what was cancelled of a worker's live claims.

    New marks wake it at once. It also looks at the marks every second, so that it need not trust that it
    was woken: the marks are what counts.
    """

    def __init__(self, client: redis.Redis, claims: Claims, killer: Killer) -> None:
        self._redis, self._claims, self._killer = client, claims, killer
        self._last: str | None = None
        self._are_ending = False

    def look(self) -> None:
        """Wait for marks, a second at most, and have what they name ended.

        Raises ``ServiceUnavailable`` when Redis cannot be reached.
        """
        # Soon again until they have ended: a run that was just claimed may not have reached the executor yet.
        self._wait_for_marks(_AGAIN_MS if self._are_ending else _LOOK_EVERY_MS)
        run_ids = self._claims.cancelled()
        self._are_ending = bool(run_ids)
        if run_ids and self._killer.end(run_ids):
            structlog.get_logger().info("cancelled", run_ids=run_ids)

    def _wait_for_marks(self, within_ms: int) -> None:
        if self._last is None:
            self._last = newest(cast("list[Entry]", self._redis.xrevrange(CANCELS, count=1)))
        found = self._redis.xread({CANCELS: self._last}, block=within_ms)
        if found:
            ((_, entries),) = cast("list[tuple[bytes, list[Entry]]]", found)
            self._last = newest(entries)


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
