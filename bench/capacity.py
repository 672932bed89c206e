"""What evaluations take: costs as measured, and a simulation of who waits for whom, and for how long.

Every part is a queue, first come, first served. What it costs the CPU is measured; what a program waits for
costs a slot of an executor and no CPU.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import simpy

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


SLOTS = {"legacy": 4, "celery": 2}
"""Programs that a worker set runs at once, by leg: two executors of two slots, and one."""

_SERVED_AT_ONCE = 1.05
"""Where nothing is full, the last one ends at most so much later than with no cost at all."""

_STEP_S = 0.002
"""CPU is shared in slices of this length, about as the kernel does it."""

Steps = Iterator[simpy.Event]


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many there are of what. ``cores`` are shared by all; null: each process has one of its own.

    With ``cores`` null an executor has as many as slots.
    """

    sets: int = 1
    singles: dict[str, int] = field(default_factory=dict)
    cores: int | None = None

    def number(self, part: str) -> int:
        """Processes of a part that uses one core each. Legacy has two workers in each set."""
        of_a_set = {"legacy workers": 2, "celery workers": 1}
        return self.singles.get(part, self.sets * of_a_set.get(part, 0) or 1)


@dataclass(frozen=True, slots=True)
class Load:
    """``number`` evaluations whose programs wait ``wait_s`` each.

    They come ``per_second``, or, where that is null, as soon as fewer than ``in_flight`` are under way.
    """

    number: int
    wait_s: float = 0.0
    per_second: float | None = None
    in_flight: int = 400


@dataclass(frozen=True, slots=True)
class Prediction:
    """``per_second`` ended; ``busy`` is the part of the room that was used, of each part or of the cores.

    Where evaluations come at a pace that is kept, what the last program waits is left out of the time.
    """

    per_second: float
    p50_s: float
    p95_s: float
    busy: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """What was busy most of the time."""
        return max(self.busy, key=lambda part: self.busy[part])


def predict(costs: Costs, fleet: Fleet, load: Load) -> Prediction:
    """Play ``load`` on ``fleet``; the same in every run."""
    return _Play(costs, fleet, load).run()


class _Play:
    def __init__(self, costs: Costs, fleet: Fleet, load: Load) -> None:
        self._costs, self._fleet, self._load = costs.cpu_s, fleet, load
        self._env = simpy.Environment()
        self._stations = {part: self._resource(fleet.number(part)) for part in SINGLE}
        self._slots = {leg: self._resource(fleet.sets * number) for leg, number in SLOTS.items()}
        self._cores = self._resource(fleet.cores) if fleet.cores else None
        self._used: dict[str, float] = {}
        self._ended: list[tuple[float, float]] = []

    def run(self) -> Prediction:
        self._env.process(self._arrivals())
        self._env.run()
        took = sorted(took for _, took in self._ended)
        span_s = self._span_s()
        return Prediction(
            per_second=len(took) / span_s,
            p50_s=took[len(took) // 2],
            p95_s=took[int(0.95 * len(took))],
            busy={part: used / (span_s * self._room(part)) for part, used in self._used.items()},
        )

    def _span_s(self) -> float:
        """From the first evaluation to the last, without what its program waits if it was served at once."""
        if self._load.per_second is None:
            return self._env.now
        best = (self._load.number - 1) / self._load.per_second + self._load.wait_s
        keeps_pace = self._env.now <= _SERVED_AT_ONCE * best
        return self._env.now - self._load.wait_s if keeps_pace else self._env.now

    def _room(self, part: str) -> int:
        if part == "cores":
            return self._fleet.cores or 1
        if part.endswith(" slots"):
            return self._slots[part.removesuffix(" slots")].capacity
        return self._stations[part].capacity

    def _resource(self, capacity: int) -> Any:
        return simpy.Resource(self._env, capacity)

    def _arrivals(self) -> Steps:
        room = self._resource(self._load.in_flight)
        for number in range(self._load.number):
            if self._load.per_second is None:
                place = room.request()
                yield place
                self._env.process(self._evaluation(lambda place=place: room.release(place)))
                continue
            due = number / self._load.per_second
            yield self._env.timeout(max(due - self._env.now, 0))
            self._env.process(self._evaluation(lambda: None))

    def _evaluation(self, leave: Any) -> Steps:
        began = self._env.now
        yield from self._single("flow host", 0.5)
        self._env.process(self._single("prefect"))  # nobody waits for its books
        yield self._env.all_of([self._env.process(self._leg(leg)) for leg in SLOTS])
        yield from self._single("flow host", 0.5)
        self._ended.append((self._env.now, self._env.now - began))
        leave()

    def _leg(self, leg: str) -> Steps:
        broker = "redis" if leg == "legacy" else "celery-redis"
        yield from self._single(broker)
        slots = self._slots[leg]
        with slots.request() as slot:
            yield slot
            began = self._env.now
            yield from self._single(f"{leg} workers")
            yield from self._computing(self._costs[f"{leg} executors"])
            yield self._env.timeout(self._load.wait_s)
            self._note(f"{leg} slots", self._env.now - began)

    def _single(self, part: str, share: float = 1.0) -> Steps:
        with self._stations[part].request() as place:
            yield place
            began = self._env.now
            yield from self._computing(share * self._costs[part])
            self._note(part, self._env.now - began)

    def _computing(self, cpu_s: float) -> Steps:
        if self._cores is None:
            yield self._env.timeout(cpu_s)
            return
        while cpu_s > 0:
            with self._cores.request() as core:
                yield core
                slice_s = min(cpu_s, _STEP_S)
                yield self._env.timeout(slice_s)
                self._note("cores", slice_s)
            cpu_s -= slice_s

    def _note(self, part: str, used_s: float) -> None:
        self._used[part] = self._used.get(part, 0.0) + used_s
