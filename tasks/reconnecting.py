"""How redis-py sends a command again that lost its connection: as everything else is tried again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
import redis.asyncio.retry
import redis.retry
from redis.backoff import NoBackoff
from tenacity import AsyncRetrying, RetryCallState, Retrying

from crucible.retries import Patience

T = TypeVar("T")

Failed = Callable[..., Any]
"""What redis-py has done after each failure: it drops the connection."""

Retryable = Callable[[Exception], bool]

_NEW_CONNECTION = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)
"""Errors after which the connection is dropped. A server that is now a replica is no longer the one meant:
the same address leads to another one."""


def sent_once() -> redis.retry.Retry:
    """For clients that must not wait: nothing is sent again, a connection that failed is dropped."""
    return redis.retry.Retry(NoBackoff(), 0, _NEW_CONNECTION)


class Reconnecting(redis.retry.Retry):
    """For clients that block. ``dependency`` is what log lines and metrics say has failed."""

    def __init__(self, dependency: str, patience: Patience) -> None:
        super().__init__(NoBackoff(), patience.attempts - 1, _NEW_CONNECTION)
        self._dependency, self._patience = dependency, patience

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Failed,
        is_retryable: Retryable | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 (redis-py's own)
    ) -> T:
        """See redis-py."""
        try:
            return do()  # what gets through at once, and nearly all does, costs nothing more
        except self._supported_errors as error:
            attempt = _beginning_with(error, do)
        options = self._patience.options(self._dependency, _worth_it(self._supported_errors, is_retryable))
        options["after"] = lambda state: fail(*_failure(state, counted=with_failure_count))
        return Retrying(**options)(attempt)


class AsyncReconnecting(redis.asyncio.retry.Retry):
    """As ``Reconnecting``, for an event loop. A task that is cancelled meanwhile ends, whatever it got."""

    def __init__(self, dependency: str, patience: Patience) -> None:
        super().__init__(NoBackoff(), patience.attempts - 1, _NEW_CONNECTION)
        self._dependency, self._patience = dependency, patience

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Failed,
        is_retryable: Retryable | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002 (redis-py's own)
    ) -> T:
        """See redis-py."""
        with _cancellation_kept():
            return await self._called(do, fail, is_retryable, counted=with_failure_count)

    async def _called(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Failed,
        is_retryable: Retryable | None,
        *,
        counted: bool,
    ) -> T:
        try:
            return await do()
        except self._supported_errors as error:
            attempt = _beginning_with(error, do)

        async def again() -> T:
            return await attempt()

        async def after(state: RetryCallState) -> None:
            await fail(*_failure(state, counted=counted))

        options = self._patience.options(self._dependency, _worth_it(self._supported_errors, is_retryable))
        return await AsyncRetrying(after=after, **options)(again)


@contextmanager
def _cancellation_kept() -> Iterator[None]:
    """Have the task end that was cancelled inside.

    redis-py writes with ``asyncio.wait_for``, and that of Python 3.11 loses a cancellation that comes when
    what it waits for is just done.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def _beginning_with(error: Exception, do: Callable[[], T]) -> Callable[[], T]:
    """``do``, except that the first call fails with ``error``: that attempt was made before."""
    made = [error]

    def attempt() -> T:
        if made:
            raise made.pop()
        return do()

    return attempt


def _worth_it(
    supported: tuple[type[Exception], ...], is_retryable: Retryable | None
) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, supported) and (is_retryable is None or is_retryable(error))


def _failure(state: RetryCallState, *, counted: bool) -> tuple[object, ...]:
    error = state.outcome.exception() if state.outcome else None
    return (error, state.attempt_number) if counted else (error,)
