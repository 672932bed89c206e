"""An executor-3 of the drill's own, for a door to stand in front of."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from crucible.errors import StackError
from deployments.stack.ports import choose_ports

_READY_WITHIN_S = 60.0
_STOP_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.1


@asynccontextmanager
async def own_executor(name: str, token: str, log: Path) -> AsyncIterator[str]:
    """The URL of an executor that runs until the end; raises ``StackError`` when it does not get ready."""
    port = choose_ports({"executor": 0})["executor"]
    settings = {"NAME": name, "HOST": "127.0.0.1", "PORT": str(port), "TOKEN": token}
    environment = {**os.environ, **{f"CRUCIBLE_EXECUTOR_{key}": value for key, value in settings.items()}}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "executors.service"), env=environment, stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await _ready(url, process, log)
        yield url
    finally:
        process.terminate()
        async with asyncio.timeout(_STOP_WITHIN_S):
            await process.wait()


async def _ready(url: str, process: Process, log: Path) -> None:
    async with asyncio.timeout(_READY_WITHIN_S), httpx.AsyncClient(trust_env=False) as client:
        while process.returncode is None:
            try:
                await client.get(f"{url}/health")
            except httpx.TransportError:
                await asyncio.sleep(_LOOK_EVERY_S)
            else:
                return
    raise StackError(f"the drill's executor did not start; its log is {log}")
