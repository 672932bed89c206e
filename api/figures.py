"""What Prometheus may ask of the API: its own figures, and those of the whole platform as of this moment."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.readiness import Kept, Standing
from crucible.errors import PlatformError
from crucible.rollout.stage import Stage
from crucible.rollout.status import RolloutStatus
from tasks.depths import QueueAges

_WITHIN_S = 3.0
_STATUS_KEPT_S = 10.0
_COLUMNS = ("waiting", "matched", "mismatched", "nondeterministic", "unpaired", "cancelled", "not_sampled")

_OPENNESS = {"closed": 0.0, "half-open": 0.5, "open": 1.0}

Part = Callable[[], Awaitable[Sequence[Metric]]]


@dataclass(frozen=True, slots=True)
class Looks:
    """Where the platform's figures are asked for; ``waiting`` is the length of the API's own queue."""

    standing: Callable[[], Awaitable[Standing]]
    status: Callable[[], Awaitable[RolloutStatus]]
    waiting: Callable[[], int]


class Figures:
    """Makes ``/metrics``. A part that does not answer is left out, and said to be."""

    def __init__(self, looks: Looks, ages: QueueAges, home: Path) -> None:
        self._looks, self._ages, self._home = looks, ages, home
        self._status = Kept(looks.status, _STATUS_KEPT_S)  # it adds up a whole epoch, and changes slowly

    async def page(self) -> bytes:
        """All figures in Prometheus' text format."""
        parts: dict[str, Part] = {
            "queues": self._of_queues,
            "parts": self._of_parts,
            "rollout": self._of_rollout,
            "disk": self._of_disk,
        }
        found = await asyncio.gather(*(_answered(name, part) for name, part in parts.items()))
        missing = GaugeMetricFamily(
            "crucible_part_unanswered", "Whether a part gave no figures just now.", labels=["part"]
        )
        for name, metrics in zip(parts, found, strict=True):
            missing.add_metric([name], float(metrics is None))
        now = CollectorRegistry(auto_describe=False)
        now.register(_Found([missing, *(each for metrics in found for each in metrics or ())]))
        return generate_latest(REGISTRY) + generate_latest(now)

    async def _of_queues(self) -> Sequence[Metric]:
        api = GaugeMetricFamily("crucible_api_waiting", "Evaluations that wait for their flow run.")
        api.add_metric([], self._looks.waiting())
        oldest = GaugeMetricFamily(
            "crucible_queue_oldest_seconds", "How long the first in line have waited at most.", labels=["leg"]
        )
        for leg, seconds in (await self._ages.oldest_s()).items():
            oldest.add_metric([leg], seconds)
        return [api, oldest]

    async def _of_parts(self) -> Sequence[Metric]:
        return _standing_metrics(await self._looks.standing())

    async def _of_rollout(self) -> Sequence[Metric]:
        return _rollout_metrics(await self._status.get())

    async def _of_disk(self) -> Sequence[Metric]:
        usage = await asyncio.to_thread(shutil.disk_usage, self._home)
        free = GaugeMetricFamily("crucible_disk_free_bytes", "Room left where the home folder is.")
        free.add_metric([], usage.free)
        size = GaugeMetricFamily("crucible_disk_size_bytes", "Room there is where the home folder is.")
        size.add_metric([], usage.total)
        return [free, size]


class _Found(Collector):
    """Metrics that were asked for before."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


async def _answered(name: str, part: Part) -> Sequence[Metric] | None:
    try:
        async with asyncio.timeout(_WITHIN_S):
            return await part()
    except (TimeoutError, PlatformError) as error:
        structlog.get_logger().warning("no figures", part=name, reason=str(error) or type(error).__name__)
        return None


def _standing_metrics(standing: Standing) -> Sequence[Metric]:
    depth = GaugeMetricFamily(
        "crucible_queue_depth", "Evaluations that wait for a worker.", labels=["leg", "priority"]
    )
    letters = GaugeMetricFamily("crucible_dead_letters", "Dead letters that are kept.", labels=["leg"])
    for leg, depths in standing.depths.items():
        for priority, number in depths.waiting.items() if depths else ():
            depth.add_metric([leg, str(priority)], number)
        if depths:
            letters.add_metric([leg], depths.dead)
    breaker = GaugeMetricFamily(
        "crucible_breaker_open",
        "How a breaker stands: 0 closed, 0.5 half-open, 1 open.",
        labels=["dependency"],
    )
    for each in standing.breakers:
        breaker.add_metric([each.dependency], _OPENNESS[each.state])
    executor = GaugeMetricFamily(
        "crucible_executor_answers", "Whether an executor answers the API.", labels=["executor"]
    )
    for known in standing.executors:
        executor.add_metric([known.name], float(known.fault is None))
    return [depth, letters, breaker, executor]


def _rollout_metrics(status: RolloutStatus) -> Sequence[Metric]:
    stage = GaugeMetricFamily("crucible_rollout_stage", "1 for the stage there is.", labels=["stage"])
    for each in Stage:
        stage.add_metric([each.value], float(each is status.stage))
    share = GaugeMetricFamily("crucible_rollout_share_ratio", "Part of traffic that Celery answers.")
    share.add_metric([], status.share / 100)
    spent = GaugeMetricFamily("crucible_rollout_turned_back", "Whether this epoch ended in a rollback.")
    spent.add_metric([], float(status.spent))
    e_value = GaugeMetricFamily("crucible_evidence_e_value", "Evidence for parity.", labels=["stratum"])
    upper = GaugeMetricFamily(
        "crucible_mismatch_upper_ratio", "Upper bound of the mismatch rate.", labels=["stratum"]
    )
    ledger = GaugeMetricFamily(
        "crucible_epoch_evaluations", "Traffic of this epoch by its column.", labels=["stratum", "column"]
    )
    for name, found in status.strata.items():
        e_value.add_metric([name], found.e_value)
        upper.add_metric([name], found.mismatch_rate_upper)
        for column in _COLUMNS:
            ledger.add_metric([name, column], getattr(found, column))
    return [stage, share, spent, e_value, upper, ledger]
