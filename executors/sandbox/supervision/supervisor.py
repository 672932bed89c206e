"""Starts one program and watches it: pipes served, limits kept, every process ended with it."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from executors.sandbox.supervision import meter
from executors.sandbox.supervision.books import Books
from executors.sandbox.supervision.files import File, Order, Stage, TooLargeError, collect
from executors.sandbox.supervision.meter import Meter
from executors.sandbox.supervision.streams import Input, Output

KERNEL_BYTES = 4 << 20
"""What the kernel holds for a watched program: namespaces, page tables, and full pipes of one MiB each."""

_FOLDER = "/box"
_SHORTEST_LOOK_S = 0.01
_TRIES, _BETWEEN_TRIES_S = 50, 0.0002
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
"""What Python and the slot ignore or handle; everything else is at its default in a slot."""


class Supervisor:
    """Runs one stage of one program. Its attributes then tell what was seen.

    ``ended`` is the main process's wait status, the time of its end and its peak of resident memory
    in KiB; ``killed_for`` names the limit, or ``cancelled``, for which we ended it.
    """

    def __init__(
        self,
        stage: Stage,
        service: int,
        measured: meter.Meter,
        wake: int,
        cpus: int,
    ) -> None:
        self.killed_for: str | None = None
        self.cpu_s = 0.0
        self.started = time.monotonic()
        self.ended = (0, 0.0, 0)
        self.stdout = Output(stage.output_bytes)
        self.stderr = Output(stage.output_bytes)
        self._stage = stage
        self._service = service
        self._meter = measured
        self._wake = wake
        self._cpus = cpus
        self._deadline = self.started + stage.wall_s
        self._main = 0
        self._running = True
        self._empty = False
        self._poll = select.poll()
        self._outputs = {output.read_end: output for output in (self.stdout, self.stderr)}

    @property
    def failed(self) -> bool:
        """Whether the program ended otherwise than by itself with exit code 0."""
        return self.ended[0] != 0 or self.killed_for is not None

    def supervise(self, environment: dict[str, str], data: bytes) -> None:
        """Run to the end, with ``data`` as standard input; when this returns no process is left."""
        stdin = Input(data)
        self._start(environment, stdin)
        self._watch(stdin)
        stdin.close()
        self._end_all()

    def _start(self, environment: dict[str, str], stdin: Input) -> None:
        argv = self._stage.argv
        ends = (stdin.read_end, self.stdout.write_end, self.stderr.write_end)
        self._main = os.posix_spawn(
            argv[0],
            argv,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(ends)],
            setsid=True,
            setsigdef=_DEFAULT_SIGNALS,
        )
        for end in ends:
            os.close(end)
        _prefer_as_victim(self._main)

    def _watch(self, stdin: Input) -> None:
        poll = self._poll
        for descriptor in (*self._outputs, self._wake, self._service):
            poll.register(descriptor, select.POLLIN)
        alarm = self._meter.alarm
        if alarm is not None:
            poll.register(alarm.descriptor, alarm.events)
        if not stdin.done:
            poll.register(stdin.write_end, select.POLLOUT)
        next_look = self._next_look(self.started, 0.0)
        while self._running and self.killed_for is None:
            soonest = min(next_look, *(each.ready_at or next_look for each in self._outputs.values()))
            for descriptor, _ in poll.poll(max(0.0, soonest - time.monotonic()) * 1000):
                self._attend_to(descriptor, stdin)
            now = time.monotonic()
            for output in self._outputs.values():
                if output.ready_at is not None and output.ready_at <= now and self._take(output):
                    poll.register(output.read_end, select.POLLIN)
            if now >= next_look and self._running:
                next_look = self._look(now)

    def _attend_to(self, descriptor: int, stdin: Input) -> None:
        if descriptor in self._outputs:
            self._poll.unregister(descriptor)
            self._outputs[descriptor].rest()
        elif descriptor == self._wake:
            os.read(self._wake, 512)
            self._reap(os.WNOHANG)
        elif descriptor == self._service:
            self.killed_for = "cancelled"
        elif descriptor == stdin.write_end:
            stdin.feed()
            if stdin.done:
                self._poll.unregister(descriptor)
        elif self._meter.alarm is not None and self._meter.alarm.is_right():
            # The kernel has ended one of its processes; which one is chance, so the others go as well.
            self.killed_for = "memory_limit"

    def _take(self, output: Output) -> bool:
        going_on = output.take()
        if output.overflowed:
            self.killed_for = self.killed_for or "output_limit"
        return going_on

    def _reap(self, flags: int) -> None:
        """Collect ended processes: those there are by now, or without ``flags`` all."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, flags)
            except ChildProcessError:
                self._empty = True
                return
            if pid == 0:
                return
            self.cpu_s += usage.ru_utime + usage.ru_stime
            if pid == self._main:
                self.ended = (status, time.monotonic(), usage.ru_maxrss)
                self._running = False

    def _end_all(self) -> None:
        """End every process of the namespace and keep what they had written by then."""
        if not self._empty:
            with contextlib.suppress(ProcessLookupError):  # the last one may have ended just now
                os.kill(-1, signal.SIGKILL)
            # Blocking: with SIGKILL on its way to all of them, none can start another or outlive it.
            self._reap(0)
        for output in self._outputs.values():
            self._take(output)
            os.close(output.read_end)
        if self.cpu_s >= self._stage.cpu_s:
            self.killed_for = self.killed_for or "cpu_limit"  # it got to its end before we looked

    def _look(self, now: float) -> float:
        """Check time and memory; returns when to look again."""
        stage = self._stage
        used = self._meter.cpu_seconds(self.cpu_s)
        if used >= stage.cpu_s:
            self.killed_for = "cpu_limit"
        elif self._is_overdue(now):
            # One that was busy all the time has used up its CPU time, whichever clock is read first.
            self.killed_for = "cpu_limit" if used >= _BUSY_SHARE * stage.cpu_s else "wall_limit"
        elif self._meter.over_memory(stage.memory_bytes, stage.processes):
            self.killed_for = "memory_limit"
        return self._next_look(now, used)

    def _is_overdue(self, now: float) -> bool:
        """Whether the wall time is used up.

        Time in which the program was ready and had no CPU is the machine's doing and not charged,
        within bounds: it ends even if it never gets a CPU.
        """
        if now >= self._deadline:
            credit = min(meter.longest_wait_for_cpu(), _WAITING_CREDIT * self._stage.wall_s)
            self._deadline = self.started + self._stage.wall_s + credit
        return now >= self._deadline

    def _next_look(self, now: float, used: float) -> float:
        until_cpu_limit = (self._stage.cpu_s - used) / self._cpus
        soonest = min(until_cpu_limit, self._deadline - now, self._meter.look_every_s)
        return now + max(_SHORTEST_LOOK_S, soonest)


def _prefer_as_victim(pid: int) -> None:
    """When memory runs out the kernel is to end the program, not its cell or slot."""
    for _ in range(_TRIES):
        try:
            descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)
        except OSError:
            # Its exec lets us go on a moment before it lets itself be looked at.
            time.sleep(_BETWEEN_TRIES_S)
        else:
            with contextlib.suppress(OSError):
                os.write(descriptor, b"1000")
            os.close(descriptor)
            return


def watcher_bytes(order: Order) -> int:
    """Memory that a program's watcher comes to use on its account while it runs."""
    return order.file_bytes + 2 * order.stage.output_bytes + KERNEL_BYTES


@contextmanager
def wake_pipe() -> Iterator[int]:
    """A descriptor that is readable once a handled signal has arrived."""
    wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
    try:
        yield wake
    finally:
        signal.set_wakeup_fd(-1)  # a slot, whose memory its cells share, has this setting too


class Account:
    """Counts as they stood before the program; ``books`` are null where the kernel keeps none for us.

    ``scratch`` are the places it may write to.
    """

    def __init__(self, meter: Meter, books: Books | None, scratch: tuple[str, ...]) -> None:
        self._meter = meter
        self._books = books
        self._scratch = scratch
        self._refused = meter.refused_processes()
        self._kills = books.out_of_memory_kills() if books else 0
        self._used_bytes = books.usage_bytes() if books else 0

    def close(self, order: Order, seen: Supervisor) -> tuple[dict[str, object], list[bytes | bytearray]]:
        """The report and its blobs: both streams, and the files left behind if they were asked for."""
        status, ended, peak_kb = seen.ended
        report: dict[str, object] = {
            "number": order.number,
            "status": status,
            "killed_for": seen.killed_for,
            "duration_s": ended - seen.started,
            "cpu_s": seen.cpu_s,
            "peak_bytes": self._peak_bytes(peak_kb << 10),
            "out_of_memory_kills": self._books.out_of_memory_kills() - self._kills if self._books else 0,
            "refused_processes": self._meter.refused_processes() - self._refused,
            "disk_full": any(map(_is_full, self._scratch)),
            "stdout_truncated": seen.stdout.overflowed,
            "stderr_truncated": seen.stderr.overflowed,
        }
        left: list[File] = []
        if order.collect and not seen.failed:
            try:
                left = collect(_FOLDER)
            except TooLargeError:
                report["killed_for"] = "disk_limit"
        report["files"] = [[file.path, file.executable] for file in left]
        return report, [seen.stdout.kept, seen.stderr.kept, *(file.content for file in left)]

    def _peak_bytes(self, of_main: int) -> int:
        """The program's own; for want of books that is ``of_main``, what its main process had resident."""
        peak = self._books.peak_bytes() if self._books else None
        return of_main if peak is None else max(0, peak - self._used_bytes)


def _is_full(folder: str) -> bool:
    state = os.statvfs(folder)
    return state.f_bavail == 0 or state.f_favail == 0
