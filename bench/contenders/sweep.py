"""Crucible's sweep, as ``crucible sweep`` runs it: the flow in a host of its own, on a stack that is up."""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.child import Orders
from crucible.ids import new_sweep_id
from crucible.models import Comparison
from flows.flow_runs import prefect_session
from flows.host import Endpoints, FlowHost, flow_host
from flows.outcome import SweepRequest
from flows.sweep import sweep


async def run_all(host: FlowHost, corpus: Path, languages: Mapping[str, str]) -> dict[str, Any]:
    """Sweep a corpus; seconds, the programs' CPU seconds, and how many evaluations matched."""
    programs_cpu_s = 0.0

    def count(comparison: Comparison) -> None:
        nonlocal programs_cpu_s
        programs_cpu_s += sum(seen.cpu_s for seen in (comparison.legacy, comparison.celery) if seen)

    request = SweepRequest(corpora=(corpus,), languages=dict(languages))
    with host.listening(count):
        started = time.monotonic()
        report = await sweep(new_sweep_id(), request)
        seconds = time.monotonic() - started
    return {"seconds": seconds, "programs_cpu_s": programs_cpu_s, "matched": report.counts.matched}


async def _serve() -> None:
    endpoints = Endpoints(
        *(os.environ[f"BENCH_{name}_URL"] for name in ("DATABASE", "REDIS", "CELERY_REDIS"))
    )
    orders = Orders()
    async with prefect_session(), flow_host(endpoints) as host:
        orders.say_ready()
        while (order := await asyncio.to_thread(orders.next)) is not None:
            orders.answer(await run_all(host, Path(order["corpus"]), order["languages"]))


if __name__ == "__main__":
    asyncio.run(_serve())
