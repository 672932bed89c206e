"""Prefect as this process uses it: a client with Crucible's errors, a session, and starts of flow runs."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from httpx import HTTPStatusError, RequestError, TransportError, codes
from prefect.client.orchestration import PrefectClient, get_client
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from crucible.errors import ServiceUnavailable
from deployments.prefect_private.client import drain_events
from tasks.http_faults import http_fault

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
