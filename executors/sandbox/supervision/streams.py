"""The pipes between a cell and its program."""

import contextlib
import fcntl
import os
import time

_CHUNK = 64 << 10
_PIPE_BYTES = 1 << 20  # the most an unprivileged process may ask for
_FIRST_REST_S, _REST_S = 0.1, 0.005
"""How long output may gather in its pipe before it is taken, the first time and later. A program that
writes often then costs few wake-ups, and one that exits without waiting for its writes (node) loses the
same part of them every time, also on a busy machine."""


class Input:
    """Standard input: ``data``, then its end."""

    def __init__(self, data: bytes) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        self._left = memoryview(data)
        self.done = False
        if data:
            os.set_blocking(self.write_end, False)
        self.feed()

    def feed(self) -> None:
        """Write what fits; ``done`` once all is written or nobody reads, the pipe being closed then."""
        try:
            while self._left:
                self._left = self._left[os.write(self.write_end, self._left) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass  # a program need not read its input
        self.close()

    def close(self) -> None:
        """Let go of the pipe."""
        if not self.done:
            os.close(self.write_end)
        self.done = True


class Output:
    """One output stream: ``kept`` is what was written to it, up to ``limit`` bytes.

    The program can open the read end too (by way of /proc/self/fd) and take its own output back, so
    that a stream which was ready may be empty when it is read: reading never blocks.
    """

    def __init__(self, limit: int) -> None:
        self.kept = bytearray()
        self.overflowed = False
        self.ready_at: float | None = None
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        self._limit = limit
        self._rest_s = _FIRST_REST_S
        os.set_blocking(self.read_end, False)
        # Refused where this user's pipes hold too much already; a small one does as well then.
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def rest(self) -> None:
        """There is something to read; let it gather until ``ready_at``."""
        self.ready_at = time.monotonic() + self._rest_s
        self._rest_s = _REST_S

    def take(self) -> bool:
        """Read what is there; false at the end of the stream and past the limit."""
        self.ready_at = None
        while not self.overflowed:
            try:
                data = os.read(self.read_end, _CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            room = self._limit - len(self.kept)
            self.overflowed = len(data) > room
            self.kept += data[:room] if self.overflowed else data
        return False
