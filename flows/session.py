"""Prefect as this process uses it: one client for everything, and none of its costly habits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.context import AsyncClientContext, SyncClientContext
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

_DRAIN_S = 5.0


@asynccontextmanager
async def prefect_session() -> AsyncIterator[None]:
    """Share one pair of clients among all flow runs inside; a client for each would cost more than the flow.

    Prefect's environment must have been set before this module was imported.
    """
    # A heartbeat is a thread and an event for each flow run; the flow host itself tells whether it lives.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), SyncClientContext():
        async with AsyncClientContext():
            try:
                yield
            finally:
                # Both wait in threads of their own; what they still hold would miss a server about to stop.
                await APILogHandler.aflush()
                await asyncio.to_thread(EventsWorker.drain_all, _DRAIN_S)
