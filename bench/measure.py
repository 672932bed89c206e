"""Measures one contender over one corpus."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.child import Child
from bench.corpus import write_corpus
from bench.figures import ContenderName, Measured, machine_cpu_s, usage_of
from crucible.errors import PlatformError

CLIENT = "client"
_LOOK_EVERY_S = 0.25
_SETTLE_S = 2.5
"""Servers write some things later, Prefect within a second; what that costs belongs to the run."""


@dataclass(frozen=True)
class Contender:
    """One who runs corpora: the process that takes orders, and those that work for it, by name."""

    name: ContenderName
    client: Child
    helpers: Mapping[str, int] = field(default_factory=dict)
    order: Mapping[str, Any] = field(default_factory=dict)

    @property
    def roots(self) -> dict[str, int]:
        """The process trees whose cost is this contender's."""
        return {**self.helpers, CLIENT: self.client.pid}


async def measure(contender: Contender, folder: Path, programs: Sequence[str], evaluations: int) -> Measured:
    """Have ``contender`` run so many ``evaluations`` of ``programs``, from a corpus in ``folder``.

    Raises ``PlatformError`` when not every evaluation matched: who does less work is no contender.
    """
    corpus = folder / "corpus.jsonl"
    write_corpus(corpus, programs, evaluations)
    before, machine_before = usage_of(contender.roots), machine_cpu_s()
    async with _memory_watched(contender.roots) as peaks:
        answer = await contender.client.ask({**contender.order, "corpus": str(corpus)})
    await asyncio.sleep(_SETTLE_S)
    after, machine_after = usage_of(contender.roots), machine_cpu_s()
    if answer.get("matched", evaluations) != evaluations:
        raise PlatformError(
            f"{contender.name}: {answer['matched']} of {evaluations} evaluations matched; all must"
        )
    return Measured(
        contender=contender.name,
        evaluations=evaluations,
        seconds=answer["seconds"],
        cpu_s={name: after[name].cpu_s - before[name].cpu_s for name in after},
        programs_cpu_s=answer["programs_cpu_s"],
        machine_cpu_s=machine_after - machine_before,
        peak_mb=peaks.total_mb,
        client_peak_mb=peaks.client_mb,
    )


@dataclass
class _Peaks:
    total_mb: float = 0.0
    client_mb: float = 0.0

    def look(self, roots: Mapping[str, int]) -> None:
        usage = usage_of(roots)
        self.total_mb = max(self.total_mb, sum(each.resident_mb for each in usage.values()))
        self.client_mb = max(self.client_mb, usage[CLIENT].resident_mb)


@asynccontextmanager
async def _memory_watched(roots: Mapping[str, int]) -> AsyncIterator[_Peaks]:
    peaks = _Peaks()

    async def watch() -> None:
        while True:
            peaks.look(roots)
            await asyncio.sleep(_LOOK_EVERY_S)

    watching = asyncio.create_task(watch())
    try:
        yield peaks
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
