"""Containers kept warm: started and listening before anybody asks for them."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog

from executors.sandbox.docker.containers import FAULTS, Container, Containers, Kind

_KINDS_KEPT_WARM = 4
_STARTED_AT_ONCE = 2
_LEAVING_AT_MOST = 8


class Pool:
    """Hands out containers and removes them once used; ``size`` of each kind used lately are kept warm.

    ``prepare`` is run on each container that is kept, before anybody waits for it. Removing goes on behind
    the caller's back; when it falls behind, new containers wait for it.
    """

    def __init__(
        self, containers: Containers, size: int, prepare: Callable[[Container], Awaitable[None]]
    ) -> None:
        self._containers = containers
        self._size = size
        self._prepare = prepare
        self._warm: OrderedDict[Kind, list[Container]] = OrderedDict()
        self._coming: dict[Kind, int] = {}
        self._starting = asyncio.Semaphore(_STARTED_AT_ONCE)
        self._leaving = asyncio.Semaphore(_LEAVING_AT_MOST)
        self._background: set[asyncio.Task[None]] = set()
        self._refills: set[asyncio.Task[None]] = set()
        self._keeps = False
        self._log = structlog.get_logger()

    def keep_warm(self, kind: Kind | None = None) -> None:
        """From now on replace what is taken; and have containers of ``kind`` ready."""
        self._keeps = True
        if kind is not None:
            self._warm.setdefault(kind, [])
            self._refill(kind)

    async def take(self, kind: Kind) -> Container:
        """A container for one program: a warm one if there is one, else one made now. Raises ``FAULTS``."""
        warm = self._warm.get(kind)
        found = None
        while warm and found is None:
            candidate = warm.pop(0)
            if candidate.launcher.lost:
                self.discard(candidate)
            else:
                found = candidate
        self._use(kind)
        if found is None:
            async with self._leaving:  # as long as too many are on their way out, none comes in
                pass
            found = await self._started(kind)
        return found

    def discard(self, container: Container) -> None:
        """Remove a container; returns at once."""
        self._spawn(self._remove(container), self._background)

    async def refilled(self) -> None:
        """Wait until what is missing has come, and what was used has gone."""
        while self._refills or self._background:
            await asyncio.gather(*self._refills, *self._background)

    async def close(self) -> None:
        """Remove all, and wait until they are gone."""
        self._keeps = False
        await asyncio.gather(*self._refills)
        for kept in self._warm.values():
            for container in kept:
                self.discard(container)
        self._warm.clear()
        while self._background:
            await asyncio.gather(*self._background)

    async def _started(self, kind: Kind) -> Container:
        """A new container. Who gives up on it does not stop its coming, so it is removed when it is there."""
        starting = asyncio.ensure_future(self._containers.start(kind))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._spawn(self._remove_unwanted(starting), self._background)
            raise

    async def _remove_unwanted(self, starting: asyncio.Future[Container]) -> None:
        try:
            container = await starting
        except FAULTS:
            return
        await self._remove(container)

    def _use(self, kind: Kind) -> None:
        """Keep this kind warm, and no more kinds than are worth it."""
        if not self._keeps or not self._size:
            return
        self._warm.setdefault(kind, [])
        self._warm.move_to_end(kind)
        while len(self._warm) > _KINDS_KEPT_WARM:
            _, unused = self._warm.popitem(last=False)
            for container in unused:
                self.discard(container)
        self._refill(kind)

    def _refill(self, kind: Kind) -> None:
        missing = self._size - len(self._warm[kind]) - self._coming.get(kind, 0)
        for _ in range(missing):
            self._coming[kind] = self._coming.get(kind, 0) + 1
            self._spawn(self._add(kind), self._refills)

    async def _add(self, kind: Kind) -> None:
        try:
            async with self._starting, self._leaving:
                container = await self._containers.start(kind)
                try:
                    await self._prepare(container)
                except BaseException:
                    self.discard(container)
                    raise
        except FAULTS as error:
            # Whoever takes the next one finds out for himself; trying on would only load a sick daemon.
            self._log.warning("container_not_kept_warm", detail=str(error))
            return
        finally:
            self._coming[kind] -= 1
        if self._keeps and kind in self._warm:
            self._warm[kind].append(container)
        else:
            self.discard(container)

    async def _remove(self, container: Container) -> None:
        async with self._leaving:
            try:
                await self._containers.remove(container)
            except FAULTS as error:
                self._log.warning("container_not_removed", container=container.id[:12], detail=str(error))

    def _spawn(self, work: Awaitable[None], among: set[asyncio.Task[None]]) -> None:
        started = asyncio.ensure_future(work)
        among.add(started)
        started.add_done_callback(among.discard)
