"""Counts spans that nobody will see."""

from functools import cache

from prometheus_client import Counter

REASONS = ("queue full", "not written", "not readable")


def show_none_lost() -> None:
    """Show all reasons at 0, so that a first loss is seen as one."""
    for reason in REASONS:
        _lost_spans().labels(reason)


def dropped(reason: str, number: int) -> None:
    """Count spans that nobody will see; ``reason`` is one of ``REASONS``."""
    _lost_spans().labels(reason).inc(number)


@cache
def _lost_spans() -> Counter:
    return Counter("crucible_spans_dropped", "Spans that were lost on their way.", ("reason",))
