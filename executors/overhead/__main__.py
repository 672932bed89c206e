"""``python -m executors.overhead ROUNDS``: measures and prints one JSON document.

By turns, one program each, so that what disturbs the machine disturbs all; then each by itself at
saturation. Seconds.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack

from crucible.errors import CrucibleError
from executors.overhead.contenders import (
    Contender,
    DockerExec,
    bare,
    cold,
    has_docker_command,
    prewarmed,
    process,
)
from executors.sandbox.docker import images
from executors.sandbox.docker.containers import connected

_WARM_UP = 3
_PLATFORM_FAULT = 4


def main() -> int:
    """Exit 0, or 4 with one line on standard error."""
    try:
        found = asyncio.run(_measured(int(sys.argv[1])))
    except (CrucibleError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return _PLATFORM_FAULT
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


async def _measured(rounds: int) -> dict[str, dict[str, object]]:
    async with AsyncExitStack() as stack:
        contenders = _contenders(os.cpu_count() or 1)
        for contender in contenders:
            stack.push_async_callback(contender.close)
            await contender.open()
            for _ in range(_WARM_UP):
                await contender.run()
        took: dict[str, list[float]] = {each.name: [] for each in contenders}
        for _ in range(rounds):
            for contender in contenders:
                await contender.rest()
                took[contender.name].append(await _timed(contender))
        return {
            each.name: {"seconds": took[each.name], "per_second": await _saturated(each, rounds)}
            for each in contenders
        }


def _contenders(cpus: int) -> list[Contender]:
    found = [bare(cpus), process(cpus), prewarmed(cpus)]
    if has_docker_command():
        client = connected()
        image = next((each.id for each in images.listed(client) if each.family == "script"), None)
        client.close()
        if image is not None:
            found += [cold(image), DockerExec(image)]
    return found


async def _timed(contender: Contender) -> float:
    began = time.perf_counter()
    await contender.run()
    return time.perf_counter() - began


async def _saturated(contender: Contender, runs: int) -> float:
    """Programs a second, as many at once as the machine can do with."""
    left = iter(range(runs))

    async def work() -> None:
        for _ in left:
            await contender.run()

    await contender.rest()
    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(contender.at_once)))
    return runs / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
