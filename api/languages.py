"""Which languages can be run here: those that every executor runs."""

import asyncio
import time
from collections.abc import Iterable, Sequence

import structlog

from crucible.errors import ExecutorUnavailable
from executors.client import ExecutorClient

_ASK_S = 3.0
_ASK_AGAIN_AFTER_S = 10.0


class Languages:
    """What executors said last. They are asked again when a language is wanted that they did not name."""

    def __init__(self, executor_urls: Sequence[str], token: str) -> None:
        self._clients = [ExecutorClient([url], token, _ASK_S, 1) for url in executor_urls]
        self._known: frozenset[str] | None = None
        self._asked_at = 0.0
        self._lock = asyncio.Lock()

    def close(self) -> None:
        """Close the connections to the executors."""
        for client in self._clients:
            client.close()

    async def with_all_of(self, wanted: Iterable[str]) -> frozenset[str]:
        """The languages that can be run; executors are asked first unless all of ``wanted`` are known.

        Raises ``ExecutorUnavailable`` while they have never all answered.
        """
        wanted = frozenset(wanted)
        if self._known is None or not wanted <= self._known:
            async with self._lock:
                if self._known is None or not self._is_fresh():
                    await self._ask()
        return self._known or frozenset()

    async def _ask(self) -> None:
        try:
            answers = await asyncio.gather(*(asyncio.to_thread(client.languages) for client in self._clients))
        except ExecutorUnavailable as error:
            if self._known is None:
                raise
            structlog.get_logger().warning("languages not asked", reason=str(error))
        else:
            self._known = frozenset.intersection(*map(frozenset, answers))
        self._asked_at = time.monotonic()

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._asked_at < _ASK_AGAIN_AFTER_S
