"""What Prometheus may ask of an executor. Each service has a registry of its own."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from crucible.models import Observation, Outcome
from executors.executor import Executor
from executors.service.queue import Queue

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_UNKNOWN = "unknown"
"""Stands for every language that does not work here: callers must not be able to make up labels."""


class Metrics:
    """The figures of one service."""

    def __init__(self, executor: Executor, queue: Queue) -> None:
        self._languages = executor.versions
        self._registry = CollectorRegistry()
        self._registry.register(_Present(executor, queue))
        self._executions = Counter(
            "crucible_executor_executions",
            "Programs that were run, and compilers that failed.",
            ("language", "outcome"),
            registry=self._registry,
        )
        self._durations = Histogram(
            "crucible_executor_duration_seconds",
            "Wall time of programs, without waiting.",
            ("language",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._sandbox_errors = Counter(
            "crucible_executor_sandbox_errors",
            "Runs that the platform did not bring to their end.",
            registry=self._registry,
        )
        self._refused = Counter(
            "crucible_executor_refused", "Requests refused.", ("reason",), registry=self._registry
        )

    def executed(self, language: str, seen: Observation) -> None:
        """Count an observation."""
        known = language if language in self._languages else _UNKNOWN
        self._executions.labels(known, seen.outcome.value).inc()
        self._durations.labels(known).observe(seen.duration_s)
        if seen.outcome is Outcome.SANDBOX_ERROR:
            self._sandbox_errors.inc()

    def refused(self, reason: str) -> None:
        """Count a request that was not carried out."""
        self._refused.labels(reason).inc()

    def page(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _Present(Collector):
    """What is read off when it is asked for."""

    def __init__(self, executor: Executor, queue: Queue) -> None:
        self._executor = executor
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        queue, compiled = self._queue, self._executor.compiled
        yield GaugeMetricFamily("crucible_executor_slots", "Programs that may run at once.", queue.slots)
        yield GaugeMetricFamily("crucible_executor_running", "Programs that hold a slot.", queue.running)
        yield GaugeMetricFamily("crucible_executor_waiting", "Programs that wait for one.", queue.waiting)
        yield GaugeMetricFamily("crucible_executor_orders", "Orders under way or waiting.", queue.orders)
        yield CounterMetricFamily(
            "crucible_executor_compile_cache_hits", "Programs found compiled.", compiled.hits
        )
        yield CounterMetricFamily(
            "crucible_executor_compile_cache_misses", "Programs that had to be compiled.", compiled.misses
        )
