"""Starting the harness' stack: doors in its lines, its store on a small file system, and an end to it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from deployments.stack import launch
from deployments.stack.service import choose_ports
from tests.chaos.clocks import Clocks
from tests.chaos.door import Door
from tests.chaos.stack import EXECUTORS, REDISES, ROOT, WORKERS, ChaosError, Stack, without_crucible
from tests.chaos.stack_process import VARIABLE, Wiring
from tests.support.command_line import far_from_now
from tests.support.planted_faults import PlantedFaults
from tests.support.small_disk import mounted_at

_SMALL_MB = {"store": 48, "redis": 192, "celery-redis": 192}
"""Sizes of the file systems of a store and of either Redis, whose log is rewritten at 64 MB."""
_STARTS_WITHIN_S = 120
_STOPS_WITHIN_S = 60


@asynccontextmanager
async def chaos_stack(home: Path, *, faked_clocks: bool = False) -> AsyncIterator[Stack]:
    """A stack in ``home``, stopped at the end, when nothing of it is left."""
    async with AsyncExitStack() as exits:
        small = {name: exits.enter_context(mounted_at(home / name, size)) for name, size in _SMALL_MB.items()}
        ports = choose_ports(dict.fromkeys((*EXECUTORS, "prefect"), 0))
        doors = {name: Door(port) for name, port in ports.items()}
        for door in doors.values():
            await exits.enter_async_context(door.open())
        clocks = Clocks(home / "clocks") if faked_clocks else None
        wiring = Wiring(
            workers={_url(ports[name]): doors[name].url for name in EXECUTORS},
            flows={_url(ports["prefect"]): doors["prefect"].url},
            more=_with_clocks(clocks) if clocks else {},
        )
        settings = {
            f"CRUCIBLE_{name.upper().replace('-', '_')}_PORT": str(port) for name, port in ports.items()
        }
        settings["CRUCIBLE_DATABASE_URL"] = f"sqlite:///{home}/store/crucible.db"
        settings["CRUCIBLE_START_TIMEOUT_S"] = str(_STARTS_WITHIN_S)
        settings["CRUCIBLE_SCHEDULE_CRON"] = far_from_now()
        planted = PlantedFaults(home / "planted")
        settings |= planted.environment | {VARIABLE: wiring.text()}
        await exits.enter_async_context(_process(home, settings))
        yield Stack(home, doors, clocks, small, planted)


@asynccontextmanager
async def _process(home: Path, settings: dict[str, str]) -> AsyncIterator[None]:
    environment = without_crucible() | settings | {"CRUCIBLE_HOME": str(home)}
    with (home / "stack.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), "0"),
            *(sys.executable, "-m", "tests.chaos.stack_process"),
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        await _up(process, home)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOPS_WITHIN_S)
        except TimeoutError:
            # Its services, and all that these have started, end with it.
            process.kill()
            await process.wait()


async def _up(process: asyncio.subprocess.Process, home: Path) -> None:
    assert process.stdout is not None
    said = (await process.stdout.readline()).decode().strip()
    if said != "up":
        raise ChaosError(f"the stack did not start: {said or (home / 'stack.log').read_text()[-2000:]}")


def _with_clocks(clocks: Clocks) -> dict[str, dict[str, str]]:
    groups = {"servers": REDISES, "workers": WORKERS}
    return {name: clocks.environment(whose) for whose, names in groups.items() for name in names}


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
