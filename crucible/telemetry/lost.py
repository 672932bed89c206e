"""Counts spans that nobody will see."""

from functools import cache

from prometheus_client import Counter

REASONS = (
    "queue full",
    "not written",
    "not readable",
    "header full",
    "too many of one trace",
    "nobody came",
)


def show_none_lost() -> None:
    """Show all reasons at 0, so that a first loss is seen as one."""
    for reason in REASONS:
        lost_spans().labels(reason)


def dropped(reason: str, number: int) -> None:
    """Count spans that nobody will see; ``reason`` is one of ``REASONS``."""
    lost_spans().labels(reason).inc(number)


@cache
def lost_spans() -> Counter:
    """The counter, for registries besides the usual one."""
    return Counter("crucible_spans_dropped", "Spans that were lost on their way.", ("reason",))
