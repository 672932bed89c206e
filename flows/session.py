"""Prefect as this process uses it: one client for everything, and none of its costly habits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx import TransportError
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from crucible.errors import ServiceUnavailable
from deployments.prefect_private.client import drain_events
from flows.prefect_client import prefect_fault

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
