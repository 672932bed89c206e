"""What one evaluation costs each part, from one measured sweep of programs that do nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.figures import Measured
from bench.measure import CLIENT
from crucible.errors import PlatformError

EXECUTORS = {"legacy executors": ("executor-1", "executor-2"), "celery executors": ("executor-3",)}
"""Where programs run; each may use as many cores as it has slots."""

SINGLE = {
    "flow host": (CLIENT,),
    "prefect": ("prefect",),
    "redis": ("redis",),
    "celery-redis": ("celery-redis",),
    "legacy workers": ("legacy-worker-1", "legacy-worker-2"),
    "celery workers": ("celery-worker",),
}
"""Parts that use one core each, however much there is to do."""

PARTS: Mapping[str, tuple[str, ...]] = {**SINGLE, **EXECUTORS}
"""The services of the first worker set by the part they are, the sweeping process for the flow host."""


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds of each part for one evaluation. Those of executors include sandbox and program."""

    cpu_s: Mapping[str, float]

    @property
    def total_s(self) -> float:
        """CPU seconds of all parts together."""
        return sum(self.cpu_s.values())


def costs_of(measured: Measured) -> Costs:
    """What a sweep on one worker set has shown; raises ``PlatformError`` where a part did nothing."""
    cpu_s = {
        part: sum(measured.cpu_s.get(each, 0.0) for each in services) / measured.evaluations
        for part, services in PARTS.items()
    }
    idle = [part for part, used in cpu_s.items() if not used]
    if idle:
        raise PlatformError(f"{', '.join(idle)}: no CPU time was measured; measure more evaluations")
    return Costs(cpu_s)
