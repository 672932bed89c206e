"""How late the event loop of a flow host is: what holds it up holds up every answer."""

import asyncio
import time
from functools import cache

from prometheus_client import Gauge

_OVER_S = 1.0


async def measure_lag() -> None:
    """Set the gauge, after a second."""
    due = time.monotonic() + _OVER_S
    await asyncio.sleep(_OVER_S)
    _lag().set(max(0.0, time.monotonic() - due))


@cache
def _lag() -> Gauge:
    return Gauge("crucible_flow_host_lag_seconds", "How late the flow host's event loop was just now.")
