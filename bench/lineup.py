"""Starts the contenders on a stack that is up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.child import Child
from bench.contenders.chord_app import environment_of as chord_environment
from bench.measure import Contender
from crucible.errors import PlatformError
from deployments.stack import StackState, prefect_client_environment
from executors.client import ExecutorClient

_CHORD_DATABASE = 7
_USED_BY_CHORD = ("celery-redis", "executor-1", "executor-2", "executor-3")
_ASK_S = 5.0


class Lineup:
    """The stack, and a folder for the contenders' logs."""

    def __init__(self, state: StackState, folder: Path) -> None:
        self._state, self._folder = state, folder
        self._services = {each.name: each.pid for each in state.services if each.pid is not None}

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Contender]:
        """Nobody: the interpreter and a loop around it."""
        async with self._child("bench.contenders.bare") as client:
            yield Contender("bare", client)

    @asynccontextmanager
    async def chord(self) -> AsyncIterator[Contender]:
        """The Celery chord, with messages and results in a database of their own on Celery's Redis."""
        url = urlsplit(self._state.celery_redis_url)._replace(path=f"/{_CHORD_DATABASE}").geturl()
        environment = chord_environment(url, self._state.executor_urls, self._state.executor_token)
        helpers = {name: self._service(name) for name in _USED_BY_CHORD}
        async with (
            self._child("bench.contenders.chord_worker", environment) as worker,
            self._child("bench.contenders.chord", environment) as client,
        ):
            yield Contender("chord", client, {**helpers, "chord-worker": worker.pid})

    @asynccontextmanager
    async def sweep(self) -> AsyncIterator[Contender]:
        """Crucible: a fresh process that sweeps, and every process of the stack."""
        state = self._state
        environment = {
            **prefect_client_environment(self._folder, state.prefect_api_url),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
            "BENCH_DATABASE_URL": state.database_url,
            "BENCH_REDIS_URL": state.redis_url,
            "BENCH_CELERY_REDIS_URL": state.celery_redis_url,
        }
        languages = await asyncio.to_thread(self._first_executor().languages)
        async with self._child("bench.contenders.sweep", environment) as client:
            yield Contender("sweep", client, self._services, {"languages": languages})

    async def isolation_level(self) -> str:
        """How programs are isolated here."""
        return str((await asyncio.to_thread(self._first_executor().health))["isolation_level"])

    def _first_executor(self) -> ExecutorClient:
        return ExecutorClient([self._state.executor_urls[0]], self._state.executor_token, _ASK_S, 1)

    def _service(self, name: str) -> int:
        if name not in self._services:
            raise PlatformError(
                f"{name} is not a process of this stack; unset the setting that names another"
            )
        return self._services[name]

    @asynccontextmanager
    async def _child(self, module: str, environment: dict[str, str] | None = None) -> AsyncIterator[Child]:
        child = Child(module, environment or {}, self._folder / f"{module.rpartition('.')[2]}.log")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(child.close)
            await child.start()
            yield child
