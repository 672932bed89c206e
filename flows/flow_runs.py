"""The flow runs under way in this process, each of which can be cancelled by itself.

Prefect cancels the runs of its own runners and workers; those inside a process of ours nobody else stops.

Flow runs that fail by the platform's fault are begun again: Prefect was away, or the store was full. That is
safe at any moment. The runs keep their ids, the legs keep their answers until those are in the ledger, and
what is settled stays as it is.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from uuid import UUID

from httpx import HTTPStatusError, RequestError, TransportError, codes
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.exceptions import CancelledRun, ObjectNotFound, UnfinishedRun
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Cancelled
from tenacity import AsyncRetrying

from crucible import errors
from crucible.errors import ServiceUnavailable
from crucible.retries import Patience, is_platform_fault
from deployments.prefect_private.client import drain_events
from tasks.background import BackgroundServices
from tasks.cancellation import see_through
from tasks.http_faults import http_fault

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
    except UnfinishedRun as unfinished:
        if StateType.CANCELLING.name not in str(unfinished):
            raise
        raise errors.Cancelled("cancelled before its body had begun") from unfinished


async def end_cancelled(flow_run_id: UUID) -> None:
    """Tell Prefect that a flow run has ended which was cancelled before its body had begun."""
    async with prefect_client() as client:
        await client.set_flow_run_state(flow_run_id, Cancelled(message="cancelled"), force=True)


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


_REMEDY = "see whether it runs, or correct CRUCIBLE_PREFECT_API_URL"
_NOT_SERVED = {codes.UNAUTHORIZED, codes.FORBIDDEN, codes.REQUEST_TIMEOUT, codes.TOO_MANY_REQUESTS}


@asynccontextmanager
async def prefect_client() -> AsyncIterator[PrefectClient]:
    """The client of the Prefect session around it, or a new one, inside ``prefect_faults``."""
    with prefect_faults():
        async with get_client() as client:
            yield client


@contextmanager
def prefect_faults() -> Iterator[None]:
    """Raise ``ServiceUnavailable`` when Prefect's server does not answer, is at fault, or serves nobody now.

    That is as well so for errors within groups. Other refusals are the caller's, and stay as they are.
    """
    try:
        yield
    except (HTTPStatusError, RequestError, ExceptionGroup) as error:
        if (ours := _ours(error)) is error:
            raise
        raise ours from error


def prefect_fault(error: Exception) -> ServiceUnavailable:
    """``error`` of httpx, met with Prefect's server, as ours."""
    return http_fault(f"Prefect's server at {PREFECT_API_URL.value()}", _REMEDY, error)


def _ours(error: Exception) -> Exception:
    if isinstance(error, ExceptionGroup):
        return error.derive([_ours(each) for each in error.exceptions])
    is_fault = isinstance(error, RequestError) or (isinstance(error, HTTPStatusError) and _is_fault(error))
    return prefect_fault(error) if is_fault else error


def _is_fault(error: HTTPStatusError) -> bool:
    return error.response.is_server_error or error.response.status_code in _NOT_SERVED


_DRAIN_S = 5.0


@asynccontextmanager
async def prefect_session() -> AsyncIterator[None]:
    """Share one pair of clients among all flow runs inside; a client for each would cost more than the flow.

    Prefect's environment must have been set before this module was imported. A server that stays away
    is tried for minutes; then ``ServiceUnavailable`` is raised in a group.
    """
    # A heartbeat is a thread and an event for each flow run; the flow host itself tells whether it lives.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), SyncClientContext():
        async with AsyncClientContext():
            try:
                yield
            except* TransportError as group:
                raise _first(group) from group
            finally:
                # Both wait in threads of their own; what they still hold would miss a server about to stop.
                await APILogHandler.aflush()
                await drain_events(_DRAIN_S)


def _first(group: ExceptionGroup[TransportError]) -> ServiceUnavailable:
    reason: Exception = group
    while isinstance(reason, ExceptionGroup):
        reason = reason.exceptions[0]
    return prefect_fault(reason)


PARITY_SWEEP = "parity-sweep/scheduled"

_SWEEP_TAG = "sweep:"


async def start_parity_sweep(sweep_id: str, parameters: Mapping[str, Any]) -> str:
    """Have a sweep of that id run as soon as may be; returns its flow run.

    Raises ``ServiceUnavailable`` when Prefect does not answer or nobody has offered sweeps to it.
    """
    try:
        async with prefect_client() as client:
            deployment = await client.read_deployment_by_name(PARITY_SWEEP)
            flow_run = await client.create_flow_run_from_deployment(
                deployment.id, parameters=dict(parameters), tags=[f"{_SWEEP_TAG}{sweep_id}"], name=sweep_id
            )
    except ObjectNotFound as error:
        raise ServiceUnavailable(
            f"Prefect knows no deployment {PARITY_SWEEP}, so no sweep runs; `crucible up` starts who does"
        ) from error
    return str(flow_run.id)


def announced_sweep_id(tags: Sequence[str]) -> str | None:
    """The id under which the flow run with these tags was announced; null when it was not."""
    found = (each.removeprefix(_SWEEP_TAG) for each in tags if each.startswith(_SWEEP_TAG))
    return next(found, None)
