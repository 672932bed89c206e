"""Redis clients whose errors are Crucible's: the one place where errors of redis-py become ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.client import Pipeline as AsyncPipeline
from redis.client import Pipeline

from crucible.errors import ServiceUnavailable

_FOR_THE_CALLER = ("NOSCRIPT", "NOGROUP", "BUSYGROUP")
"""Codes of answers that are no fault: redis-py loads the script, and callers make the group."""

_REMEDIES = {
    "MISCONF": "free some room on its disk",
    "READONLY": "it is a replica: wait for the failover to end, or name the primary in its URL",
    "OOM": "raise its maxmemory, or remove what it need not keep",
    "LOADING": "it is reading its data from disk: wait",
    "BUSY": "a script runs for too long: end it with SCRIPT KILL",
    "CLUSTERDOWN": "name a single server in its URL, or mend the cluster",
    "MASTERDOWN": "start its primary",
    "NOAUTH": "put its password into its URL",
    "WRONGPASS": "correct the password in its URL",
    "NOPERM": "allow its user the command",
}
_ELSE = "see whether it runs, and its log"
_CODE = re.compile(r"\b[A-Z]{3,}\b")


class RedisClient(redis.Redis):
    """A client for threads that raises ``ServiceUnavailable`` for every fault of the server.

    The message has the server's words and the remedy. What the caller did wrong stays redis-py's error.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """See redis-py."""
        with _as_ours(self.connection_pool):
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "RedisPipeline":  # noqa: FBT001, FBT002 (redis-py's own)
        """See redis-py."""
        return RedisPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class RedisPipeline(Pipeline):
    """A pipeline of ``RedisClient``."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 (redis-py's own)
        """See redis-py."""
        with _as_ours(self.connection_pool):
            return super().execute(raise_on_error)


class AsyncRedisClient(redis.asyncio.Redis):
    """As ``RedisClient``, for one event loop."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """See redis-py."""
        with _as_ours(self.connection_pool):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "AsyncRedisPipeline":  # noqa: FBT001, FBT002 (redis-py's own)
        """See redis-py."""
        return AsyncRedisPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class AsyncRedisPipeline(AsyncPipeline):
    """A pipeline of ``AsyncRedisClient``."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 (redis-py's own)
        """See redis-py."""
        with _as_ours(self.connection_pool):
            return await super().execute(raise_on_error)


def redis_fault(address: str, error: Exception) -> ServiceUnavailable:
    """``error`` of redis-py or the operating system, from the server at ``address`` (host:port), as ours."""
    said = " ".join(str(error).split()) or type(error).__name__
    code = _code(error)
    if code and code not in said:
        said = f"{code} {said}"
    return ServiceUnavailable(f"Redis at {address}: {said}; {_REMEDIES.get(code, _ELSE)}")


@contextmanager
def _as_ours(pool: Any) -> Iterator[None]:
    try:
        yield
    except (redis.DataError, redis.WatchError):
        raise  # the caller's own
    except (redis.RedisError, OSError) as error:
        if _code(error) in _FOR_THE_CALLER:
            raise
        where = pool.connection_kwargs
        raise redis_fault(f"{where.get('host')}:{where.get('port')}", error) from error


def _code(error: Exception) -> str:
    """The word with which the server began its answer; empty where it gave none."""
    if code := getattr(error, "status_code", None):
        return str(code)
    found = (each for each in _CODE.findall(str(error)) if each in _REMEDIES or each in _FOR_THE_CALLER)
    return next(found, "")
