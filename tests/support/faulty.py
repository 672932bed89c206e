"""Calls of a dependency that fail for as long as a test wants them to, with an error nobody expects."""

from collections.abc import Awaitable, Callable
from typing import Any

PLANTED = "planted by a test"


class Faulty:
    """Stands for ``call`` and fails ``times`` times, ``failed`` by now, where ``concerns`` its arguments."""

    def __init__(
        self, call: Callable[..., Awaitable[Any]], concerns: Callable[..., bool] = lambda *_, **__: True
    ) -> None:
        self._call, self._concerns = call, concerns
        self.times = self.failed = 0

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.times and self._concerns(*arguments, **options):
            self.times -= 1
            self.failed += 1
            raise LookupError(PLANTED)
        return await self._call(*arguments, **options)
