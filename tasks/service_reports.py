"""What processes report of their background services, in the Redis of the replies, for whoever asks.

Keys: ``crucible:services`` is the set of processes, ``crucible:services:{process}`` the latest report of
one, which ends by itself soon after its process stops renewing it.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import cast

import redis.asyncio
from pydantic import TypeAdapter, ValidationError

from crucible.errors import ServiceUnavailable
from tasks.background import BackgroundServices, ServiceState
from tasks.connections import connect

PROCESSES_KEY = "crucible:services"

_EVERY_S = 2.0
_REPORT_TTL_S = 15


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """The background services of one process, named by what it is, its host and its process id."""

    process: str
    services: tuple[ServiceState, ...]


class ServiceReports:
    """Reports the background services of this process, which is called ``name``, every two seconds."""

    def __init__(self, redis_url: str, name: str, background: BackgroundServices) -> None:
        self._process = f"{name}@{socket.gethostname()}:{os.getpid()}"
        self.background = background
        self._redis = connect(redis_url, 2)

    @property
    def own(self) -> ProcessReport:
        """The report of this process as of now."""
        return ProcessReport(self._process, self.background.states())

    def open(self) -> None:
        """Have the background report from now on."""
        self.background.every_in_thread(_EVERY_S, "service reports", self._report, required=False)

    def close(self) -> None:
        """Take the report back: the process ends. Its background services must have ended."""
        with suppress(ServiceUnavailable):  # then it ends by itself
            self._redis.delete(report_key(self._process))
            self._redis.srem(PROCESSES_KEY, self._process)
        self._redis.close()

    def _report(self) -> None:
        body = _report_type().dump_json(self.own)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.sadd(PROCESSES_KEY, self._process)
        pipeline.set(report_key(self._process), body, ex=_REPORT_TTL_S)
        pipeline.execute()


def report_key(process: str) -> str:
    """Key of the latest report of ``process``."""
    return f"{PROCESSES_KEY}:{process}"


async def read_reports(client: redis.asyncio.Redis) -> list[ProcessReport]:
    """The latest reports of all processes, by name; forgets those that have not reported for long.

    One that another version wrote and this one cannot read is left out. Raises ``ServiceUnavailable``.
    """
    found = cast("set[bytes]", await client.smembers(PROCESSES_KEY))
    processes = sorted(each.decode() for each in found)
    if not processes:
        return []
    bodies = cast("Sequence[bytes | None]", await client.mget([report_key(each) for each in processes]))
    gone = [process for process, body in zip(processes, bodies, strict=True) if body is None]
    if gone:
        await client.srem(PROCESSES_KEY, *gone)
    reports = []
    for body in filter(None, bodies):
        with suppress(ValidationError):
            reports.append(_report_type().validate_json(body))
    return reports


@cache
def _report_type() -> TypeAdapter[ProcessReport]:
    return TypeAdapter(ProcessReport)
