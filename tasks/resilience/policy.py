"""What is tried again: faults of the platform. What a program does is its result, however it fails."""

from crucible.errors import ExecutorUnavailable, ServiceUnavailable, StoreError


def is_platform_fault(error: BaseException) -> bool:
    """Whether ``error`` says that a part of the platform was away or failed, so that it may soon be over.

    An open breaker is none of these: it is there so that nobody tries.
    """
    return isinstance(error, (ExecutorUnavailable, ServiceUnavailable, StoreError))
