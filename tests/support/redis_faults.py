"""What a real Redis answers when something is wrong with it: each made, and mended."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from tests.support.small_disk import SmallDisk
from tests.support.valkey import Valkey, free_port
from tests.support.waiting import patiently

OPTIONS = ("--busy-reply-threshold", "1")
"""With which a server must be started."""

_OFTEN = ("--loading-process-events-interval-bytes", "1024")


@contextmanager
def disk_full(server: Valkey, disk: SmallDisk) -> Iterator[None]:
    """``server``, whose data lie on ``disk``, answers MISCONF."""
    with server.client() as client:
        with disk.full():
            with suppress(redis.ResponseError):
                client.set("one more", "x" * 1_000_000)
            patiently(lambda: client.info("persistence")["aof_last_write_status"] == "err")
            yield
        patiently(lambda: client.info("persistence")["aof_last_write_status"] == "ok")


@contextmanager
def replica(server: Valkey) -> Iterator[None]:
    """``server`` answers READONLY: another is the primary now."""
    with server.client() as client:
        client.replicaof("127.0.0.1", free_port())
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def out_of_memory(server: Valkey) -> Iterator[None]:
    """``server`` answers OOM."""
    with server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


@contextmanager
def busy(server: Valkey) -> Iterator[None]:
    """``server`` answers BUSY: a script runs on and on."""

    def run_on() -> None:
        with redis.Redis.from_url(server.url, socket_timeout=None) as client, suppress(redis.RedisError):
            client.eval("while true do end", 0)

    running = threading.Thread(target=run_on)
    running.start()
    with server.client() as client:
        patiently(lambda: _answers(client, "BUSY"))
        try:
            yield
        finally:
            client.script_kill()
            running.join()


@contextmanager
def loading(server: Valkey) -> Iterator[None]:
    """``server`` answers LOADING: it has begun anew, and its data take long to read."""
    with server.client() as client:
        client.config_set("rdbcompression", "no")
        client.mset({f"load-{number}": "x" * 1100 for number in range(1000)})
        client.save()
    server.stop()
    server.launch("--appendonly", "no", "--key-load-delay", "20000", *_OFTEN)
    with server.client() as client:
        patiently(lambda: _answers(client, "loading"))
        try:
            yield
        finally:
            client.config_set("key-load-delay", 0)
            server.stop()
            server.start()


@contextmanager
def forbidden(server: Valkey, *commands: str) -> Iterator[None]:
    """``server`` answers NOPERM to ``commands``."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", *(f"-{each}" for each in commands))
        try:
            yield
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+@all")


def _answers(client: redis.Redis, word: str) -> bool:
    """Whether a ping is answered with an error with ``word`` in it, or with none where that is empty."""
    try:
        client.ping()
    except redis.RedisError as error:  # a busy machine may also answer too late
        return bool(word) and word in str(error)
    return not word
