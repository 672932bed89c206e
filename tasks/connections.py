"""Clients of Redis that raise Crucible's errors: the one place where errors of redis-py become ours."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.retry
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.client import Pipeline as AsyncPipeline
from redis.backoff import NoBackoff
from redis.client import Pipeline
from tenacity import AsyncRetrying, RetryCallState, Retrying

from crucible.errors import ServiceUnavailable, SettingsError
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


class _Connection(redis.asyncio.Connection):
    """Ends a command whose task was cancelled while it was sent; its reply may come seconds later."""

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: FBT001, FBT002 (redis-py's own)
    ) -> None:
        """See redis-py."""
        try:
            with _cancellation_kept():
                await super().send_packed_command(command, check_health)
        except asyncio.CancelledError:
            await self.disconnect(nowait=True)  # or the reply would be taken for that of the next command
            raise


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


_FOR_THE_CALLER = (redis.DataError, redis.WatchError, redis.exceptions.NoScriptError)
"""No fault of a server: a value that cannot be sent, a lost race, a script that redis-py loads then."""

_ANSWERS = ("NOGROUP", "BUSYGROUP", "no such key")
"""How errors begin that answer a question of the caller."""

_FAILED_OVER = "it is a replica: wait for the failover to end, or name the primary in its URL"
_CLUSTER = "name a single server in its URL; a cluster cannot be used"
_REMEDIES = {
    "BUSY": "a script runs for too long: end it with SCRIPT KILL",
    "CLUSTERDOWN": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "LOADING": "it reads its data from disk: wait",
    "MASTERDOWN": "start its primary",
    "MISCONF": "free some room on its disk, and see its log",
    "MOVED": _CLUSTER,
    "NOAUTH": "put its password into its URL",
    "NOPERM": "allow its user that command",
    "NOREPLICAS": "start its replicas",
    "OOM": "raise its maxmemory, or remove what it need not keep",
    "READONLY": _FAILED_OVER,
    "UNBLOCKED": _FAILED_OVER,
    "WRONGPASS": "correct the password in its URL",
}
_OF_PIPELINE = " of pipeline caused error: "
"""Before it redis-py puts the command, which may hold a whole program."""

_CODE = re.compile(rf"\b({'|'.join(_REMEDIES)})\b")


class RedisClient(redis.Redis):
    """A client for threads that raises ``ServiceUnavailable`` for faults of the server and the network.

    The message has the server's words and the remedy. Other errors of redis-py are the caller's: a value that
    cannot be sent, a watched key that changed, a stream or group that is not there.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """See redis-py."""
        with _translating(self.connection_pool):
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "RedisPipeline":  # noqa: FBT001, FBT002 (redis-py's own)
        """See redis-py."""
        return RedisPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class RedisPipeline(Pipeline):
    """A pipeline of ``RedisClient``."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 (redis-py's own)
        """See redis-py."""
        with _translating(self.connection_pool):
            return super().execute(raise_on_error)

    def annotate_exception(self, exception: Exception, number: int, command: Any) -> None:
        """Leave the server's words as they are; redis-py would put the command before them."""


class AsyncRedisClient(redis.asyncio.Redis):
    """As ``RedisClient``, for one event loop."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """See redis-py."""
        with _translating(self.connection_pool):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "AsyncRedisPipeline":  # noqa: FBT001, FBT002 (redis-py's own)
        """See redis-py."""
        return AsyncRedisPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class AsyncRedisPipeline(AsyncPipeline):
    """A pipeline of ``AsyncRedisClient``."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 (redis-py's own)
        """See redis-py."""
        with _translating(self.connection_pool):
            return await super().execute(raise_on_error)

    def annotate_exception(self, exception: Exception, number: int, command: Any) -> None:
        """See ``RedisPipeline.annotate_exception``."""


@contextmanager
def redis_faults(address: str) -> Iterator[None]:
    """Raise ``ServiceUnavailable`` for errors of the Redis at ``address`` (host:port), in code of others."""
    try:
        yield
    except _FOR_THE_CALLER:
        raise
    except (redis.RedisError, OSError) as error:
        if isinstance(error, redis.ResponseError) and str(error).startswith(_ANSWERS):
            raise
        raise redis_fault(address, error) from error


def redis_fault(address: str, error: BaseException) -> ServiceUnavailable:
    """``error`` of redis-py or of the network, met with the Redis at ``address`` (host:port), as ours."""
    said = str(error).rpartition(_OF_PIPELINE)[2]
    words = " ".join(said.split()).rstrip(".") or type(error).__name__
    code = getattr(error, "status_code", None) or next(iter(_CODE.findall(words)), "")
    if isinstance(error, redis.ResponseError) or code:
        words = words if code in words else f"{code} {words}"
        return ServiceUnavailable(
            f"Redis at {address} answers: {words}; {_REMEDIES.get(code, 'see its log')}"
        )
    return ServiceUnavailable(f"Redis at {address} does not answer: {words}; start it, or correct its URL")


def _translating(pool: Any) -> Any:
    where = pool.connection_kwargs
    return redis_faults(where.get("path") or f"{where.get('host')}:{where.get('port')}")


_REPLY_WITHIN_S = 15.0
_CONNECT_WITHIN_S = 3.0
_BLOCKING = Patience(within_s=3.0, attempts=6)
_IN_A_LOOP = Patience(within_s=1.0, attempts=3, longest_pause_s=0.5)


def connect(url: str, connections: int) -> RedisClient:
    """A client for threads that share at most ``connections`` connections; nothing is sent yet.

    A command that finds the connection gone is sent again for a second or two, so a command may
    be carried out twice. Raises ``SettingsError`` when ``url`` is no Redis URL.
    """
    try:
        client = RedisClient.from_url(
            url,
            max_connections=connections,
            socket_timeout=_REPLY_WITHIN_S,
            socket_connect_timeout=_CONNECT_WITHIN_S,
            retry=Reconnecting(f"Redis at {address(url)}", _BLOCKING),
        )
    except ValueError as error:
        raise SettingsError(_not_a_url(url)) from error
    return cast("RedisClient", client)


def connect_async(url: str, connections: int = 4) -> AsyncRedisClient:
    """A client for one event loop; nothing is sent yet. Raises ``SettingsError`` as ``connect`` does.

    Who finds all ``connections`` in use waits for one, as long as for a server to accept one.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            connection_class=_Connection,  # for TLS redis-py puts its own in the place
            max_connections=connections,
            timeout=_CONNECT_WITHIN_S,
            socket_timeout=_REPLY_WITHIN_S,
            socket_connect_timeout=_CONNECT_WITHIN_S,
            retry=AsyncReconnecting(f"Redis at {address(url)}", _IN_A_LOOP),
        )
    except ValueError as error:
        raise SettingsError(_not_a_url(url)) from error
    return cast("AsyncRedisClient", AsyncRedisClient.from_pool(pool))


def address(url: str) -> str:
    """Where ``url`` points, as host:port, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"


def wait_until_there(
    client: redis.Redis, pause: Callable[[float], bool], absent: Callable[[Exception], None]
) -> bool:
    """Waits until Redis answers; ``absent`` is called once, with the reason, when it does not at first.

    ``pause(seconds)`` waits and says whether to give up. False when it said so.
    """
    delay = 0.1
    told = False
    while True:
        try:
            client.ping()
        except ServiceUnavailable as error:
            if not told:
                absent(error)
                told = True
        else:
            return True
        if pause(delay):
            return False
        delay = min(delay * 2, 2.0)


def _not_a_url(url: str) -> str:
    scheme = url.partition("://")[0]
    return f"{scheme!r} does not begin a Redis URL; write redis://:PASSWORD@HOST:PORT/DB"


async def place_in(client: redis.asyncio.Redis, stream: str, last: str) -> str:
    """Where to read on after ``last``: there, or at the beginning of a stream that has not come so far.

    A Redis that lost the stream numbers a new one by its clock; when that was put back meanwhile, a reader
    would wait for as long behind entries it never sees.
    """
    try:
        info: dict[str, Any] = await client.xinfo_stream(stream)
    except redis.ResponseError:
        return last  # no such stream: whatever begins it is looked at then
    newest = cast("bytes", info["last-generated-id"]).decode()
    return "0-0" if _number(newest) < _number(last) else last


def _number(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
