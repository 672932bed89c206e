"""What is tried again: faults of the platform. What a program does is its result, however it fails."""

from tenacity import AsyncRetrying, Retrying, retry_if_exception

from crucible.errors import ExecutorUnavailable, ServiceUnavailable, StoreError
from crucible.retries import Patience, told


def retrying(dependency: str, patience: Patience) -> Retrying:
    """Tries again what failed by the platform's fault, and in the end raises what it failed with.

    ``dependency`` is what log lines and metrics say has failed.
    """
    return Retrying(
        retry=retry_if_exception(is_platform_fault),
        wait=patience.wait,
        stop=patience.stop,
        before_sleep=told(dependency),
        reraise=True,
    )


def async_retrying(dependency: str, patience: Patience) -> AsyncRetrying:
    """As ``retrying``, for coroutines."""
    return AsyncRetrying(
        retry=retry_if_exception(is_platform_fault),
        wait=patience.wait,
        stop=patience.stop,
        before_sleep=told(dependency),
        reraise=True,
    )


def is_platform_fault(error: BaseException) -> bool:
    """Whether ``error`` says that a part of the platform was away or failed, so that it may soon be over.

    An open breaker is none of these: it is there so that nobody tries.
    """
    return isinstance(error, (ExecutorUnavailable, ServiceUnavailable, StoreError))
