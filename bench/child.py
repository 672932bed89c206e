"""A contender's process and the conversation with it: JSON lines, one order, one answer."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

from crucible.errors import PlatformError

ROOT = Path(__file__).resolve().parents[1]
_GO_WITHIN_S = 15.0


class Child:
    """The bench's end: starts ``python -m module``, which must answer each order with one line."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        self._module, self._environment, self._log = module, environment, log
        self._process: Process

    @property
    def pid(self) -> int:
        """Root of the child's process tree."""
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it says that it is ready; raises ``PlatformError`` with its log's end."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                env={**os.environ, **self._environment, "PYTHONPATH": str(ROOT)},
                start_new_session=True,  # Ctrl-C is for the bench, which ends its children itself
            )
        await self._answer()

    async def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send an order and wait for its answer; raises ``PlatformError`` when the child has ended."""
        assert self._process.stdin is not None  # noqa: S101  (asked for above)
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return await self._answer()

    async def close(self) -> None:
        """Let it end by the end of its orders, or by force when it takes too long."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_GO_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101  (asked for above)
        line = await self._process.stdout.readline()
        if not line:
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise PlatformError(f"{self._module} ended: {said[-1] if said else 'it said nothing'}")
        found: dict[str, Any] = json.loads(line)
        return found


class Orders:
    """The child's end, to be made first of all: what else is printed goes to the log from then on."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Say that this process is ready; then order after order, until the bench hangs up."""
        self.say_ready()
        while (order := self.next()) is not None:
            yield order

    def say_ready(self) -> None:
        """To be said once, before the first order."""
        self.answer({"ready": True})

    def next(self) -> dict[str, Any] | None:
        """The next order; null once there will be none."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    def answer(self, found: Mapping[str, Any]) -> None:
        """Answer the order taken last."""
        self._answers.write(json.dumps(found) + "\n")
        self._answers.flush()


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
