"""What a stack holds at a moment: memory and files of each service, keys of its Redis servers, its stores."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from deployments.stack import StackState
from executors.sandbox.docker.containers import connected

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """Of one service and all it has started: MiB of memory that are its own, open files, processes."""

    pid: int
    memory_mb: float
    files: int
    processes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. ``at_s`` is by the monotonic clock; services that are being started again are left out.

    ``stores`` are MiB on disk: ``store`` is Crucible's, ``prefect`` the Prefect server's, ``logs`` all logs.
    """

    at_s: float
    services: Mapping[str, Held]
    keys: Mapping[str, int]
    stores: Mapping[str, float]
    containers: int


def look(state: StackState, home: Path) -> Sample:
    """Look at everything now; a Redis that is away has no keys in the sample."""
    services = {}
    for each in state.services:
        with suppress(psutil.Error):
            services[each.name] = _held(psutil.Process(each.pid))
    urls = {"redis": state.redis_url, "celery-redis": state.celery_redis_url}
    keys = {}
    for name, url in urls.items():
        with suppress(redis.RedisError), redis.Redis.from_url(url, socket_timeout=2) as client:
            keys[name] = int(client.dbsize())
    stores = {
        "store": _size_mb(home.glob("crucible.db*")),
        "prefect": _size_mb(home.glob("prefect/prefect.db*")),
        "logs": _size_mb(home.glob("logs/*")),
    }
    return Sample(time.monotonic(), services, keys, stores, _containers())


def _held(root: psutil.Process) -> Held:
    memory, files, processes = 0.0, 0, 0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.Error):
            memory += process.memory_full_info().uss / _MIB
            files += process.num_fds()
            processes += 1
    return Held(root.pid, memory, files, processes)


def _size_mb(files: Iterable[Path]) -> float:
    total = 0
    for each in files:
        with suppress(FileNotFoundError):
            total += each.stat().st_size
    return total / _MIB


def _containers() -> int:
    client = connected()
    try:
        return len(client.containers.list(all=True, sparse=True))
    finally:
        client.close()
