"""The flow runs under way in this process, each of which can be cancelled by itself.

Prefect cancels the runs of its own runners and workers; those inside a process of ours nobody else stops.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import CancelledRun
from prefect.states import Cancelled
from tenacity import AsyncRetrying

from crucible import errors
from crucible.retries import Patience, is_platform_fault
from flows.prefect_client import prefect_client, prefect_faults
from tasks.background import BackgroundServices
from tasks.cancellation import see_through

T = TypeVar("T")

_LOOK_EVERY_S = 1.5
_ENDED_BY_USERS = [StateType.CANCELLING, StateType.CANCELLED]


class FlowRuns:
    """Has the body of every flow run, and ends those that somebody wants to end, in Prefect's UI or here."""

    def __init__(self) -> None:
        self._bodies: dict[str, asyncio.Task[Any]] = {}
        self._leaving = False

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` look from now on for what was cancelled in Prefect."""
        background.every(_LOOK_EVERY_S, "flow run cancellations", self._look, required=False)

    async def run(
        self,
        flow_run_id: str,
        work: Coroutine[Any, Any, T],
        settle: Callable[[], Coroutine[Any, Any, None]] | None = None,
        deadline_s: float | None = None,
    ) -> T | State[Any]:
        """What ``work``, the body of a flow, returns; Prefect's state Cancelled when it was cancelled.

        That may be by ``cancel``, in the Prefect UI, by the deadline, or with the asyncio task that runs the
        flow. ``settle`` accounts for what is left open then, if anything can be. After ``leave`` it is no
        wish to cancel anything, and the cancellation goes on to the caller.
        """
        body = asyncio.create_task(_within(deadline_s, work))
        self._bodies[flow_run_id] = body
        try:
            return await body
        except (asyncio.CancelledError, _DeadlineError) as error:
            if self._leaving:
                raise
            if settle is not None:
                await see_through(settle())
            _forget_cancellation()
            return Cancelled(message=str(error) or "cancelled; what was open is settled as such")
        finally:
            del self._bodies[flow_run_id]

    def cancel(self, flow_run_ids: Collection[str]) -> None:
        """Cancel those of these flow runs that are under way here."""
        for each in self._bodies.keys() & set(flow_run_ids):
            self._bodies[each].cancel()

    def leave(self) -> None:
        """From now on a flow run that is cancelled is one that this process, which ends, leaves undone."""
        self._leaving = True

    async def _look(self) -> None:
        self.cancel(await _ended_by_users(self._bodies))


async def unless_cancelled(flow_run: Awaitable[T]) -> T:
    """What a flow returns; raises ``errors.Cancelled`` where it ends as Cancelled.

    Where Prefect could not be told how it goes on, that is ``ServiceUnavailable``.
    """
    try:
        with prefect_faults():
            return await flow_run
    except CancelledRun as cancelled:
        raise errors.Cancelled(str(cancelled)) from cancelled


class _DeadlineError(Exception):
    """The time of a flow run is up."""


async def _within(deadline_s: float | None, work: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(deadline_s) as time:
            return await work
    except TimeoutError:
        if time.expired():
            reason = f"cancelled: its time, {deadline_s} s, was up (CRUCIBLE_FLOW_DEADLINE_S)"
            raise _DeadlineError(reason) from None
        raise


def _forget_cancellation() -> None:
    """Let the running task go on: it has to tell Prefect how the flow run ended."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


async def _ended_by_users(flow_run_ids: Collection[str]) -> list[str]:
    if not flow_run_ids:
        return []
    ids = FlowRunFilterId(any_=[UUID(each) for each in flow_run_ids])
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_ENDED_BY_USERS))
    async with prefect_client() as client:
        found = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=ids, state=state))
    return [str(each.id) for each in found]


_ATTEMPTS = 1000
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


async def enduring(within_s: float, attempt: Callable[[], Awaitable[T]]) -> T:
    """What ``attempt`` returns, begun again for ``within_s`` seconds while the platform is at fault."""
    patience = Patience(within_s, _ATTEMPTS, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
    tries = AsyncRetrying(**patience.options("flow run", is_passing_fault))

    async def once() -> T:  # tenacity awaits what it knows to be a coroutine function, and no other
        with prefect_faults():
            return await attempt()

    return await tries(once)


def is_passing_fault(error: BaseException) -> bool:
    """Whether ``error``, or each error of a group, says that a server was away or at fault."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_passing_fault(each) for each in error.exceptions)
    return is_platform_fault(error)
