"""Flow runs that fail by the platform's fault are begun again: Prefect was away, or the store was full.

That is safe at any moment. The runs keep their ids, the legs keep their answers until those are in the
ledger, and what is settled stays as it is.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying

from crucible.retries import Patience, is_platform_fault
from flows.prefect_client import prefect_faults

T = TypeVar("T")

_ATTEMPTS = 1000
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


async def enduring(within_s: float, attempt: Callable[[], Awaitable[T]]) -> T:
    """What ``attempt`` returns, begun again for ``within_s`` seconds while the platform is at fault."""
    patience = Patience(within_s, _ATTEMPTS, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
    tries = AsyncRetrying(**patience.options("flow run", is_passing_fault))

    async def once() -> T:  # tenacity awaits what it knows to be a coroutine function, and no other
        with prefect_faults():
            return await attempt()

    return await tries(once)


def is_passing_fault(error: BaseException) -> bool:
    """Whether ``error``, or each error of a group, says that a server was away or at fault."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_passing_fault(each) for each in error.exceptions)
    return is_platform_fault(error)
