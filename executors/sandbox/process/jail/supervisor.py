"""Starts one program and watches it: both pipes drained, limits kept, every process ended with it."""

import fcntl
import os
import select
import signal
import socket
import time

from executors.sandbox.process.jail.cgroup import Group

_CHUNK = 1 << 20
_PIPE_BYTES = 1 << 20  # the most an unprivileged process may ask for
_FIRST_REST_S, _REST_S = 0.1, 0.005
"""How long output may gather in its pipe before it is taken, the first time and later. A program that
writes often then costs few wake-ups, and one that exits without waiting for its writes (node) loses the
same part of them every time, also on a busy machine."""
_POLL_MEMORY_S = 0.02
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WAITING_CREDIT = 4
_BUSY_SHARE = 0.9
_DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGCHLD,
)


class Supervisor:
    """Runs one stage of one program. ``stdout`` and ``stderr`` hold what it wrote, up to its limit."""

    def __init__(self, service: socket.socket, group: Group | None, number: int) -> None:
        self._service = service
        self._group = group
        self._number = number
        self._out = bytearray()
        self._err = bytearray()
        self._overflowed: set[int] = set()
        self._reaped_cpu_s = 0.0
        self._main = 0
        self._ended: tuple[int, float, int] | None = None  # wait status, end time, peak RSS in KiB
        self._killed_for: str | None = None

    @property
    def stdout(self) -> bytes:
        """The bytes written to standard output, no more than the limit."""
        return bytes(self._out)

    @property
    def stderr(self) -> bytes:
        """The bytes written to standard error, no more than the limit."""
        return bytes(self._err)

    def supervise(self, stage: dict, environment: dict[str, str], stdin: bytes) -> dict:
        """Run to the end and return what was seen: wait status, times, peak, and which limit ended it."""
        self._stage = stage
        self._output_bytes = stage["output_kb"] * 1024
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._cpu_before = self._group.cpu_seconds() if self._group else 0.0
        started = time.monotonic()
        streams, stdin_end = self._start(stage["argv"], environment)
        self._watch(started, streams, stdin_end, stdin, wake_read)
        self._end_all(streams)
        signal.set_wakeup_fd(-1)
        os.close(wake_read)
        os.close(wake_write)
        status, ended, peak_kb = self._ended or (0, time.monotonic(), 0)
        return {
            "status": status,
            "killed_for": self._killed_for,
            "duration_s": ended - started,
            "cpu_s": self._reaped_cpu_s,
            "peak_rss_kb": peak_kb,
            "stdout_truncated": 1 in self._overflowed,
            "stderr_truncated": 2 in self._overflowed,
        }

    def _start(self, argv: list[str], environment: dict[str, str]) -> tuple[dict[int, bytearray], int]:
        stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        for write_end in (out_write, err_write):
            # A runtime that does not wait for its output to be taken (node) then loses none up to here.
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._main = os.posix_spawn(
            argv[0],
            argv,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin_read, 0),
                (os.POSIX_SPAWN_DUP2, out_write, 1),
                (os.POSIX_SPAWN_DUP2, err_write, 2),
            ],
            setsid=True,
            setsigdef=_DEFAULT_SIGNALS,
        )
        for descriptor in (stdin_read, out_write, err_write):
            os.close(descriptor)
        os.set_blocking(stdin_write, False)
        self._names = {out_read: 1, err_read: 2}
        return {out_read: self._out, err_read: self._err}, stdin_write

    def _watch(
        self, started: float, streams: dict[int, bytearray], stdin_end: int, stdin: bytes, wake: int
    ) -> None:
        poll = select.poll()
        for descriptor in (*streams, wake, self._service.fileno()):
            poll.register(descriptor, select.POLLIN)
        left = memoryview(stdin)
        left = self._feed(stdin_end, left)
        if left is not None:
            poll.register(stdin_end, select.POLLOUT)
        next_look = self._next_look(started, time.monotonic(), 0.0)
        resting: dict[int, float] = {}
        rest_s = dict.fromkeys(streams, _FIRST_REST_S)
        while self._ended is None and self._killed_for is None:
            timeout = max(0.0, min((next_look, *resting.values())) - time.monotonic())
            for descriptor, _ in poll.poll(timeout * 1000 + 1):
                if descriptor in streams:
                    poll.unregister(descriptor)
                    resting[descriptor] = time.monotonic() + rest_s[descriptor]
                    rest_s[descriptor] = _REST_S
                elif descriptor == stdin_end and left is not None:
                    left = self._feed(stdin_end, left)
                    if left is None:
                        poll.unregister(stdin_end)
                elif descriptor == wake:
                    os.read(wake, 512)
                    self._reap(os.WNOHANG)
                elif descriptor == self._service.fileno():
                    self._killed_for = "cancelled"
            now = time.monotonic()
            for descriptor in [each for each, until in resting.items() if until <= now]:
                del resting[descriptor]
                if self._drain(descriptor, streams[descriptor]):
                    poll.register(descriptor, select.POLLIN)
            if now >= next_look and self._ended is None:
                next_look = self._look(started, now)
        if left is not None:
            os.close(stdin_end)

    def _feed(self, stdin_end: int, left: memoryview) -> memoryview | None:
        """Write what fits; null once all is written or nobody reads, the pipe being closed then."""
        try:
            while left:
                left = left[os.write(stdin_end, left) :]
        except BlockingIOError:
            return left
        except BrokenPipeError:
            pass  # a program need not read its input
        os.close(stdin_end)
        return None

    def _drain(self, descriptor: int, kept: bytearray) -> bool:
        """Read once; false at the end of the stream. Ends the program past the output limit."""
        data = os.read(descriptor, _CHUNK)
        room = self._output_bytes - len(kept)
        kept += data[:room]
        if len(data) > room:
            self._overflowed.add(self._names[descriptor])
            self._killed_for = self._killed_for or "output_limit"
        return bool(data)

    def _reap(self, flags: int) -> bool:
        """Collect ended processes; false when there are none at all."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, flags)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._reaped_cpu_s += usage.ru_utime + usage.ru_stime
            if pid == self._main:
                self._ended = (status, time.monotonic(), usage.ru_maxrss)

    def _end_all(self, streams: dict[int, bytearray]) -> None:
        """End every process of the namespace and keep what they had written by then."""
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the main process was the only one
        # Blocking: with SIGKILL on its way to all of them, none can start another or outlive it.
        self._reap(0)
        for descriptor, kept in streams.items():
            while self._drain(descriptor, kept):
                pass
            os.close(descriptor)

    def _look(self, started: float, now: float) -> float:
        """Check time and memory; returns when to look again."""
        used = self._cpu_used()
        if used >= self._stage["cpu_s"]:
            self._killed_for = "cpu_limit"
        elif now - started >= self._stage["wall_s"] + self._waited_for_cpu():
            # One that was busy all the time has used up its CPU time, whichever clock is read first.
            busy = used >= _BUSY_SHARE * self._stage["cpu_s"]
            self._killed_for = "cpu_limit" if busy else "wall_limit"
        elif self._group is None and self._resident_bytes() > self._stage["memory_mb"] << 20:
            self._killed_for = "memory_limit"
        return self._next_look(started, now, used)

    def _next_look(self, started: float, now: float, used: float) -> float:
        if self._group is None:
            return now + _POLL_MEMORY_S
        soonest = (self._stage["cpu_s"] - used) / (os.cpu_count() or 1)
        wall_left = started + self._stage["wall_s"] - now
        return now + max(0.01, min(soonest, wall_left if wall_left > 0 else soonest))

    def _waited_for_cpu(self) -> float:
        """Seconds the program was ready and had no CPU: the machine's doing, not charged to its wall time.

        Bounded, so that a program ends even on a machine that never gives it a CPU.
        """
        longest = 0
        for pid in _processes():
            try:
                with open(f"/proc/{pid}/schedstat", encoding="utf-8") as file:
                    longest = max(longest, int(file.read().split()[1]))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return float(min(longest / 1e9, _WAITING_CREDIT * self._stage["wall_s"]))

    def _cpu_used(self) -> float:
        if self._group is not None:
            return self._group.cpu_seconds() - self._cpu_before
        ticks = 0
        for pid in _processes():
            fields = _stat(pid)
            ticks += sum(int(field) for field in fields[11:15])  # user and system, own and children's
        return self._reaped_cpu_s + ticks / _CLOCK_TICKS

    def _resident_bytes(self) -> int:
        return sum(int(fields[21]) for pid in _processes() if (fields := _stat(pid))) * _PAGE


def _processes() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _stat(pid: str) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _do_nothing(_signal: int, _frame: object) -> None:
    """Handle SIGCHLD, so that it wakes the poll; a default-ignored signal would not."""
