"""A flood of requests to the API, by wrk: a client that takes next to nothing of the CPU it measures on."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from crucible.errors import PlatformError

_SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True, slots=True)
class Flood:
    """What became of it: requests, and seconds to their answers. ``refused`` had another status than 202."""

    taken: int
    refused: int
    errors: int
    seconds: float
    p50: float
    p95: float
    p99: float


async def flood(url: str, key: str, body: object, connections: int, seconds: int) -> Flood:
    """Post ``body`` as JSON to ``url`` from so many connections without pause, for so long.

    Raises ``PlatformError`` where wrk is not installed, or says nothing that can be read.
    """
    wrk = which("wrk")
    if wrk is None:
        raise PlatformError("wrk is not installed, which measures how fast the API accepts; apt install wrk")
    process = await asyncio.create_subprocess_exec(
        *(wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
        *("--timeout", "10s", "--latency", "--script", str(_SCRIPT), url),
        env={**os.environ, "BENCH_API_KEY": key, "BENCH_BODY": json.dumps(body)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    said, _ = await process.communicate()
    found = next((line for line in said.splitlines() if line.startswith(b"{")), None)
    if process.returncode != 0 or found is None:
        raise PlatformError(f"wrk has not measured: {said.decode(errors='replace').strip()[-300:]}")
    return Flood(**json.loads(found))
