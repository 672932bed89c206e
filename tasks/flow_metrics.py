"""What a flow host measures: answers, settled evaluations, and how late its event loop is."""

import asyncio
import time
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from crucible.models import LEGS, Classification, Comparison, Leg, Observation, Outcome
from crucible.telemetry.metrics import WAIT_S


def show_nothing_yet() -> None:
    """Show every counter at 0, so that its first step is seen as one."""
    for classification in Classification:
        _settled().labels(classification)
    for leg in LEGS:
        _leg_durations().labels(leg)
        _reply_lags().labels(leg)
        for outcome in Outcome:
            _observations().labels(leg, outcome)


def count_reply(leg: Leg, finished_ms: int) -> None:
    """Count a report of a worker that finished it at that time, by its clock."""
    _reply_lags().labels(leg).observe(max(0.0, time.time() - finished_ms / 1000))


def count_answer(leg: Leg, seen: Observation, took_s: float) -> None:
    """Count an observation, so many seconds after it was asked for."""
    _leg_durations().labels(leg).observe(took_s)
    _observations().labels(leg, seen.outcome).inc()


def count_settled(comparison: Comparison) -> None:
    """Count an evaluation that got its column."""
    _settled().labels(comparison.classification).inc()


@cache
def _reply_lags() -> Histogram:
    return Histogram(
        "crucible_reply_lag_seconds",
        "From a worker's report to the flow host that waits for it.",
        ("leg",),
        buckets=WAIT_S,
    )


@cache
def _leg_durations() -> Histogram:
    return Histogram(
        "crucible_leg_duration_seconds", "From asking a leg to its answer.", ("leg",), buckets=WAIT_S
    )


@cache
def _observations() -> Counter:
    return Counter("crucible_observations", "Observations that legs gave.", ("leg", "outcome"))


@cache
def _settled() -> Counter:
    return Counter("crucible_evaluations_settled", "Evaluations that got their column.", ("classification",))


_OVER_S = 1.0


async def measure_lag() -> None:
    """Set the gauge, after a second."""
    due = time.monotonic() + _OVER_S
    await asyncio.sleep(_OVER_S)
    _lag().set(max(0.0, time.monotonic() - due))


@cache
def _lag() -> Gauge:
    return Gauge("crucible_flow_host_lag_seconds", "How late the flow host's event loop was just now.")
