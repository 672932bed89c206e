"""Redis clients that raise Crucible's errors: the one place where errors of redis-py become ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.client import Pipeline as AsyncPipeline
from redis.client import Pipeline

from crucible.errors import ServiceUnavailable

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
