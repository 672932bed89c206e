"""A whole stack of the harness' own, every line and file of which it can lay hands on."""

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from deployments.stack import ServiceState, StackState, read_state
from tests.chaos.books import Books
from tests.chaos.clocks import Clocks
from tests.chaos.door import Door
from tests.support.planted_faults import PlantedFaults
from tests.support.small_disk import SmallDisk

ROOT = Path(__file__).parents[2]
EXECUTORS = ("executor-1", "executor-2", "executor-3")
REDISES = ("redis", "celery-redis")
WORKERS = ("legacy-worker-1", "legacy-worker-2", "celery-worker")
_LOOK_EVERY_S = 0.1


class ChaosError(Exception):
    """The harness itself could not do what it is for."""


@dataclass
class Stack:
    """One that is up. ``doors`` are by the name of the server behind; ``clocks`` are there if asked for.

    ``small_disks`` has the small file systems of the store and of either Redis, where one could be mounted;
    ``planted`` has background services fail.
    """

    home: Path
    doors: dict[str, Door]
    clocks: Clocks | None
    small_disks: dict[str, SmallDisk | None]
    planted: PlantedFaults

    @property
    def books(self) -> Books:
        """Its ledger."""
        return Books(self.home / "store" / "crucible.db")

    @property
    def state(self) -> StackState:
        """What it says of itself now."""
        state = read_state(self.home)
        if state is None:
            raise ChaosError(f"no stack runs in {self.home}; see its logs there")
        return state

    def pid(self, service: str) -> int | None:
        """Process id of a service, if it is not just being started again."""
        return next(each.pid for each in self.state.services if each.name == service)

    def signal(self, services: Iterable[str], number: signal.Signals) -> None:
        """Send it to all of these, at once; to one that is just being started again it is not."""
        for pid in [self.pid(each) for each in services]:
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def is_whole(self) -> bool:
        """Whether every service is ready."""
        return all(each.state is ServiceState.READY for each in self.state.services)

    def redis(self, name: str) -> redis.Redis:
        """A client of one of the two servers."""
        url = self.state.redis_url if name == "redis" else self.state.celery_redis_url
        return redis.Redis.from_url(url, socket_timeout=5)

    def environment(self) -> dict[str, str]:
        """For commands that are to use it."""
        return without_crucible() | self.planted.environment | {"CRUCIBLE_HOME": str(self.home)}

    async def becomes_whole(self, within_s: float) -> bool:
        """Waits until every service is ready."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not self.is_whole():  # noqa: ASYNC110 (it happens in other processes)
                    await asyncio.sleep(_LOOK_EVERY_S)
                return True
        return False


def without_crucible() -> dict[str, str]:
    """This process' environment without settings of the product."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CRUCIBLE_")}
